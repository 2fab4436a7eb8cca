"""What can go wrong for a user of the command line, each with the exit code that scripts may rely on."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from upstash_global.errors import ClusterError, ConfigError

P = ParamSpec("P")
R = TypeVar("R")


class Failed(click.ClickException):
    exit_code = 1


class NotFound(Failed):
    """No such cluster, node or directory. (2, wrong usage, is click's own.)"""

    exit_code = 3


class Unhealthy(Failed):
    """The cluster answered, and is not as it should be; or it lags more than allowed."""

    exit_code = 4


class Denied(Failed):
    exit_code = 5


class Unreachable(Failed):
    exit_code = 6


def reporting_mistakes(command: Callable[P, R]) -> Callable[P, R]:
    """Tell a user's mistakes in a configuration as such, not as our bug."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ConfigError as mistake:
            raise Failed(
                "the configuration has mistakes\n" + "\n".join(f"  {each}" for each in mistake.problems)
            ) from None
        except ClusterError as mistake:
            raise Failed(str(mistake)) from None

    return run
