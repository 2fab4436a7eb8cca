"""Failed logins: how many each address may have in a minute.

An address that has had its share is refused whatever it says, so a guess that is right tells nothing, until the oldest of
them is a minute old; what is refused is not counted. Who has logged in before goes on as that user. A wrong password is
told late (`limits.failed_login_delay_ms`), so that one connection cannot guess fast either.
"""

from collections import deque
from typing import Final

MINUTE_MS: Final = 60_000
MOST_ADDRESSES: Final = 10_000  # that are remembered; beyond it those are forgotten that failed longest ago


class FailedLogins:
    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute  # 0: no limit
        self.of_address: dict[str, deque[int]] = {}  # when the newest ones failed; the address that failed last is last

    def wait_ms(self, address: str, now_ms: int) -> int:
        """Milliseconds until `address` may log in again; 0 if it may now."""
        failed = self.of_address.get(address)
        if failed is None or len(failed) < self.per_minute:
            return 0
        return max(0, failed[0] + MINUTE_MS - now_ms)

    def note(self, address: str, now_ms: int) -> bool:
        """A login of `address` has failed; True if that was the last one for now."""
        if not self.per_minute:
            return False
        failed = self.of_address.pop(address, None)
        if failed is None:
            failed = deque(maxlen=self.per_minute)
            self._make_room(now_ms)
        failed.append(now_ms)
        self.of_address[address] = failed
        return self.wait_ms(address, now_ms) > 0

    def refusal(self) -> str:
        """What an address hears that has had its share."""
        return f"max failed logins per minute exceeded. Limit: {self.per_minute}; not tried"

    def _make_room(self, now_ms: int) -> None:
        """Forget the oldest address if its time is over or there are too many; one goes for one that comes."""
        for address, failed in self.of_address.items():
            if now_ms - failed[-1] >= MINUTE_MS or len(self.of_address) >= MOST_ADDRESSES:
                del self.of_address[address]
            break
