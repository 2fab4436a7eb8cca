"""Commands about a session, the node or the cluster; importing this package adds them to the table."""

from upstash_global.node.commands import (  # noqa: F401
    acl,
    administration,
    connection,
    debugging,
    helping,
    introspection,
    latency,
    migrate,
    pausing,
    scripts,
    server,
    subscriptions,
    synctokens,
    tracking,
    transactions,
)
from upstash_global.node.longscripts import declare

declare()
helping.declare()
