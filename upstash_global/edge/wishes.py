"""Wishes: what a request asks of the cache, by its `Cache-Control` (RFC 9111 and 5861, as a client may use them).

    max-age=N                   nothing older than N seconds, and keep the reply for so long (at most 900; 30 without)
    no-cache, no-store          leave the cache alone: neither read nor kept
    stale-while-revalidate=N    a reply whose time has been over for up to N seconds will do, while a new one is fetched
    stale-if-error=N            likewise, if no new one can be had

What is called stale here has outlived its max-age. What a write has invalidated is gone, and never served.
"""

from typing import Final

from upstash_global.edge.cache import Kept

DEFAULT_LIFETIME_MS: Final = 30_000
LONGEST_LIFETIME_MS: Final = 900_000


class Wish:
    def __init__(self) -> None:
        self.may_use_cache = True
        self.max_age_ms = -1  # not said
        self.stale_while_revalidate_ms = 0
        self.stale_if_error_ms = 0

    @property
    def lifetime_ms(self) -> int:
        """How long the reply to this request may be called fresh."""
        return DEFAULT_LIFETIME_MS if self.max_age_ms < 0 else self.max_age_ms

    def is_fresh(self, kept: Kept, now_ms: int) -> bool:
        return self._beyond_ms(kept, now_ms) <= 0

    def will_do(self, kept: Kept, now_ms: int) -> bool:
        """Whether a reply that is no longer fresh may be served while a new one is fetched."""
        return self._beyond_ms(kept, now_ms) <= self.stale_while_revalidate_ms

    def will_do_at_need(self, kept: Kept, now_ms: int) -> bool:
        """Whether it may be served if there is no new one."""
        return self._beyond_ms(kept, now_ms) <= self.stale_if_error_ms

    def _beyond_ms(self, kept: Kept, now_ms: int) -> int:
        """How long the time of a reply has been over for this request."""
        allowed_ms = kept.lifetime_ms if self.max_age_ms < 0 else min(kept.lifetime_ms, self.max_age_ms)
        return kept.age_ms(now_ms) - allowed_ms


def wish_of(cache_control: bytes) -> Wish:
    """What the header asks for; directives that are unknown or malformed ask for nothing."""
    wish = Wish()
    for directive in cache_control.lower().split(b","):
        name, _, value = directive.strip().partition(b"=")
        if name in (b"no-cache", b"no-store"):
            wish.may_use_cache = False
            continue
        value = value.strip(b'"')
        if not value.isdigit() or len(value) > 9:
            continue
        ms = min(int(value) * 1000, LONGEST_LIFETIME_MS)
        if name == b"max-age":
            wish.max_age_ms = ms
        elif name == b"stale-while-revalidate":
            wish.stale_while_revalidate_ms = ms
        elif name == b"stale-if-error":
            wish.stale_if_error_ms = ms
    if wish.max_age_ms == 0:
        wish.may_use_cache = False
    return wish
