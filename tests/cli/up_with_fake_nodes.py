"""`upstash-global`, but what `up` starts are fake nodes."""

import sys
from pathlib import Path

from upstash_global.cli import processes
from upstash_global.cli.main import main

processes.NODE_COMMAND = processes.EDGE_COMMAND = (sys.executable, str(Path(__file__).with_name("fake_node.py")))
main()
