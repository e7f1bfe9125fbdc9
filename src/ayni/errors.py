"""The root of every error that Ayni raises on purpose.

Each error class lives in the module that raises it and ends in `Error`. Its message says what
happened, with which numbers, and what to do next; its attributes keep the numbers.

Two roots, because a script must be able to tell them apart: a `UserError` is mended by changing
the command, the job, the task or the configuration; any other `AyniError` is not the caller's doing
(a full disk, a damaged file, a bug).
"""

from collections.abc import Callable
from typing import Any, ClassVar


class AyniError(Exception):
    """Something went wrong that the caller did not cause. The command line exits with 1."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Callable[..., "AyniError"], tuple[Any, ...]]:
        """How an error crosses from a worker process.

        Pickle's own way calls the class with the message alone, which fails for every constructor
        that takes numbers: the reader would see a TypeError instead of the error.
        """
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class UserError(AyniError):
    """Something that the caller can mend. The command line exits with 2."""

    exit_code: ClassVar[int] = 2


class MissingExtraError(UserError):
    """A command needs an optional part of Ayni that is not installed."""

    def __init__(self, *, extra: str, package: str) -> None:
        self.extra = extra
        self.package = package
        super().__init__(f"This needs the package {package!r}. Run: pip install 'ayni[{extra}]'")


def _rebuild(kind: type[AyniError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> AyniError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error
