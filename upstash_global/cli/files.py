"""The files of a running cluster in its data directory, and how they are written.

    cluster.yaml     the configuration that all nodes read
    secrets.json     what `up` generated at the first start
    admin.token      bearer token of the admin ports
    endpoints.json   where everything listens, while it runs
    wan.json         where the simulated network is changed, while it runs
    up.lock          held by the `up` that runs here
    NAME/            log, snapshots and node.log of each node

All but the lock hold secrets and are readable by their owner only.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from upstash_global.cli.failures import Failed

CLUSTER: Final = "cluster.yaml"
SECRETS: Final = "secrets.json"
ADMIN_TOKEN: Final = "admin.token"
ENDPOINTS: Final = "endpoints.json"
WAN: Final = "wan.json"
LOCK: Final = "up.lock"
NODE_LOG: Final = "node.log"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is no such file. Raises Failed if it holds something else."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise Failed(f"{path}: {failure.strerror}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Failed(f"{path} is damaged; remove it and start again")
    return value
