"""How often: the allowance of each token in commands per second, and connections that have not said who they are."""


class Allowances:
    """A second's worth of commands may come at once; what comes then waits until the debt is paid back."""

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s  # 0: no limit
        self.left: dict[
            bytes, tuple[float, float]
        ] = {}  # identity of a token → (commands left, when that was so); a debt is below 0

    def take(self, identity: bytes, n: int, now_s: float) -> float:
        """Seconds until that token may run `n` more commands; 0 if now, and then they are counted.

        A pipeline longer than the allowance is let through when nothing is owed, and owed afterwards.
        """
        if not self.per_s:
            return 0.0
        left, since_s = self.left.get(identity, (float(self.per_s), now_s))
        left = min(self.per_s, left + (now_s - since_s) * self.per_s)
        if left < min(n, self.per_s):
            self.left[identity] = (left, now_s)
            return (min(n, self.per_s) - left) / self.per_s
        self.left[identity] = (left - n, now_s)
        return 0.0


class Strangers:
    """How many connections of each address have not shown a token yet."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.of_address: dict[str, int] = {}

    def admit(self, address: str) -> bool:
        n = self.of_address.get(address, 0)
        if n >= self.most:
            return False
        self.of_address[address] = n + 1
        return True

    def leave(self, address: str) -> None:
        """One of them has shown its token, or has gone."""
        n = self.of_address[address] - 1
        if n:
            self.of_address[address] = n
        else:
            del self.of_address[address]
