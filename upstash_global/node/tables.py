"""System tables: everything beside the keyspace that the log determines. Snapshots carry them and digests cover them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upstash_global.node.node import Node


def system_tables(node: "Node") -> dict[str, Any]:
    """Everything beside the keyspace that the log determines, by name, as plain structures."""
    context = node.engine.context
    return {
        "answers": node.answers.dump(),
        "functions": context.functions.dump(),
        "parameters": context.parameters.dump(),
        "retries": node.retries.dump(),
        "scripts": context.scripts.dump(),
        "users": node.users.dump(),
    }


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
