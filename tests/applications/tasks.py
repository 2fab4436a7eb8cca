"""What the job queues run."""


def double(n: int) -> int:
    return 2 * n


def fail() -> None:
    raise ValueError("on purpose")
