"""Every family of data commands; importing this package fills the table."""

from upstash_global.engine.commands import (  # noqa: F401
    bitmaps,
    expiry,
    internal,
    keys,
    lcs,
    objects,
    pubsub,
    scanning,
    sortedsetalgebra,
    sortedsetranges,
    sortedsets,
    sorting,
    strings,
)
