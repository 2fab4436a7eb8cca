"""File descriptors: as many connections as the system allows, and a word in time if those are fewer than promised."""

import logging
import resource
from typing import Final

RESERVE: Final = 128  # for files, links and listeners

log = logging.getLogger("upstash_global")


def allow_connections(n: int) -> int:
    """Raise the soft limit of open files to the hard one, as redis-server does; the limit, -1 for none.

    Warns when `n` connections do not fit: those beyond are then refused by the system, not by us.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as failure:  # a system that has another limit beside; what there is will do
            log.warning("the limit of open files stays at %d: %s", soft, failure)
    if soft != resource.RLIM_INFINITY and soft < n + RESERVE:
        log.warning("limits.max_clients is %d, but the system allows %d open files (ulimit -n)", n, soft)
    return soft
