"""`upstash-global`: start a cluster, look at it, change who leads.

Each command lives in the module of its subject and is imported only when it is called, so that a node process starts
without what the others need. Exit codes are in `cli/failures.py`.
"""

import ctypes
import logging
import os
import platform
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from upstash_global import __version__
from upstash_global.cli.failures import Failed, reporting_mistakes
from upstash_global.cli.output import output_option, show

PROGRAM: Final = "upstash-global"

_ELSEWHERE: Final = {  # command → module of cli/ that has it under the same name
    "bench": "bench",
    "config": "configuration",
    "edge": "edge",
    "lag": "cluster",
    "log": "logs",
    "nearest": "nearest",
    "promote": "cluster",
    "snapshot": "cluster",
    "status": "cluster",
    "switchover": "cluster",
    "topology": "cluster",
    "up": "up",
    "wan": "wan",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _ELSEWHERE:
            return super().get_command(ctx, name)
        command = getattr(import_module(f"upstash_global.cli.{_ELSEWHERE[name]}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """A self-hosted global database: one leader, read replicas in many regions.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 unhealthy or lag over budget, 5 denied, 6 unreachable.
    """


@cli.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="Configuration of the cluster.")
@click.option("--name", required=True, help="Which of its nodes this process is.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Log and snapshots of this node.  [default: ./data/NAME]"
)
@click.option(
    "--end-with-parent", is_flag=True, hidden=True, help="Stop when the process that started this one has ended."
)
@reporting_mistakes
def node(file: Path, name: str, data_dir: Path | None, end_with_parent: bool) -> None:
    """Run one node of a cluster until SIGTERM or Ctrl-C."""
    from upstash_global.config import load

    if end_with_parent:
        end_with_this_parent()
    config = load(file, os.environ)
    config.node(name)
    from upstash_global.server.run import run_node

    code = run_node(config, name, data_dir or Path("data") / name)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # all is closed and on disk; threads of gRPC have been seen to keep an interpreter from ending


def end_with_this_parent() -> None:
    """Ask the kernel for SIGTERM at the parent's death, also by SIGKILL. Where it cannot, a node just lives on."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


@cli.command()
@output_option
def version(output: str) -> None:
    """Print the version, and what it runs on."""
    data = {
        "version": __version__,
        "python": platform.python_version(),
        "engine": "compiled" if _is_compiled() else "pure Python",
    }
    show(output, data, lambda: f"{PROGRAM} {data['version']} ({data['engine']}, Python {data['python']})")


def _is_compiled() -> bool:
    from upstash_global.engine import engine

    return not (engine.__file__ or "").endswith(".py")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell; in bash: eval "$(upstash-global completion bash)"."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is None:
        raise Failed(f"there is no completion for {shell}")
    click.echo(complete(cli, {}, PROGRAM, "_UPSTASH_GLOBAL_COMPLETE").source())


def main() -> None:
    cli.main(prog_name=PROGRAM)
