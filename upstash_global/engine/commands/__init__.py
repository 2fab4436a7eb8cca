"""Every family of data commands; importing this package fills the table."""

from upstash_global.engine.commands import (  # noqa: F401
    bitmaps,
    blocking,
    expiry,
    geo,
    geosearch,
    hashes,
    internal,
    keys,
    lcs,
    lists,
    objects,
    pubsub,
    scanning,
    sets,
    sortedsetalgebra,
    sortedsetranges,
    sortedsets,
    sorting,
    strings,
)
