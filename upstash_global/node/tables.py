"""System tables: everything beside the keyspace that the log determines. Snapshots carry them and digests cover them."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from upstash_global.node.node import Node


NAMES: Final = ("answers", "functions", "parameters", "retries", "scripts", "users")


def system_tables(node: "Node") -> dict[str, Any]:
    """Everything beside the keyspace that the log determines, by name, as plain structures."""
    return {name: system_table(node, name) for name in NAMES}


def system_table(node: "Node", name: str) -> Any:
    """One of them."""
    context = node.engine.context
    match name:
        case "answers":
            return node.answers.dump()
        case "functions":
            return context.functions.dump()
        case "parameters":
            return context.parameters.dump()
        case "retries":
            return node.retries.dump()
        case "scripts":
            return context.scripts.dump()
        case "users":
            return node.users.dump()
    raise AssertionError(f"there is no system table {name}")


def load_system_tables(node: "Node", tables: dict[str, Any]) -> None:
    """Take over what `system_tables` gave; a table that is missing is empty."""
    node.answers.load(tables.get("answers"))
    node.retries.load(tables.get("retries"))
    context = node.engine.context
    context.functions.restore(tables.get("functions"))
    context.scripts.restore(tables.get("scripts"))
    context.take_parameters(tables.get("parameters"))
    node.parameters.reset_shared(context.parameters.values)
    node.users.restore(tables.get("users"))
    node.eviction.configure()
