"""Errors on their way from a worker to the coordinator.

Exceptions with keyword arguments do not survive pickling: unpickling calls the class with the message
alone. A packed error carries class, message and attributes, and builds the error without calling it.
"""

import traceback
from dataclasses import dataclass
from typing import Any

from ayni.errors import AyniError


class LearnerError(AyniError):
    """A learner raised something that Ayni did not foresee."""


class RemoteError(Exception):
    """The traceback of another process as text: the cause of an error that was unpacked here."""

    def __str__(self) -> str:
        """On a line of its own, so that it reads as a traceback."""
        return f"in the worker:\n{super().__str__()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedError:
    """An exception as plain data, with the traceback of the worker as text."""

    error_class: type[Exception]
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]
    traceback_text: str


def pack_error(error: Exception) -> PackedError:
    """Pack an error of ours as it is, and any other as a LearnerError that names it."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, AyniError):
        attributes = {
            key: value for key, value in vars(error).items() if isinstance(value, str | int | float)
        }
        return PackedError(
            error_class=type(error), arguments=error.args, attributes=attributes, traceback_text=text
        )
    message = f"{type(error).__name__}: {error}"
    return PackedError(error_class=LearnerError, arguments=(message,), attributes={}, traceback_text=text)


def unpack_error(packed: PackedError) -> Exception:
    """The error, with the worker's traceback as its cause: shown where tracebacks are, and nowhere else."""
    error = packed.error_class.__new__(packed.error_class, *packed.arguments)
    for name, value in packed.attributes.items():
        setattr(error, name, value)
    error.__cause__ = RemoteError(packed.traceback_text)
    return error
