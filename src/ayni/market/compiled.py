"""Kernels: functions on arrays that run as they stand, and as machine code where numba is installed.

A kernel is written once, in the part of Python that numba understands. Small rounds run it uncompiled, so
that planning a job needs no numba and waits for no compiler; rounds that would take long are compiled, and
without numba they are refused with the name of the missing extra rather than left running for hours.

Kernels call each other by name. numba wants those names to be compiled too, so a compiled kernel is a copy of
the function whose globals hold the compiled others.

Not covered: threads. Compiled kernels release the interpreter's lock; callers share out the work.
"""

import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from ayni.errors import MissingExtraError

P = ParamSpec("P")
R = TypeVar("R")

LARGEST_UNCOMPILED_WORK = 200_000
"""Elementary steps above which a round is compiled; uncompiled, so many take about a second."""

OUTER_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "no_cfunc_wrapper": True, "_nrt": False}
# Kernels that other kernels call need no way in from Python, which takes long to compile.
INNER_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
_kernels: dict[str, Callable[..., Any]] = {}
_inner: dict[str, Callable[..., Any]] = {}
_outer: dict[str, Callable[..., Any]] = {}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as one that can be compiled. It must come after the kernels that it calls."""
    assert function.__name__ not in _kernels, f"two kernels are called {function.__name__}"
    _kernels[function.__name__] = function
    return function


def fast(function: Callable[P, R], *, work: int) -> Callable[P, R]:
    """The kernel as it stands for little work, compiled for much or where it is compiled already.

    Raises:
        MissingExtraError: there is much work and no numba.
    """
    is_compiled = function.__name__ in _outer
    return function if work <= LARGEST_UNCOMPILED_WORK and not is_compiled else compiled(function)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The kernel as machine code; compiled at its first call and kept on disk where that is possible.

    Raises:
        MissingExtraError: numba is not installed.
    """
    if function.__name__ in _outer:
        return _outer[function.__name__]
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError(extra="market", package="numba") from error
    for name, plain in _kernels.items():
        if name not in _inner:
            _inner[name] = numba.njit(_with_compiled_names(plain), **INNER_OPTIONS)
    _outer[function.__name__] = numba.njit(_with_compiled_names(function), **OUTER_OPTIONS)
    return _outer[function.__name__]


def _with_compiled_names(function: Callable[..., Any]) -> Callable[..., Any]:
    assert isinstance(function, FunctionType)
    names = {
        name: _inner[value.__name__]
        for name, value in function.__globals__.items()
        if isinstance(value, FunctionType) and value.__name__ in _inner
    }
    copy = FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__
    )
    copy.__module__ = function.__module__
    # numba looks for a kept kernel by this name and at the date of one file. Without the digest it would
    # go on with an old kernel when another file was changed.
    copy.__qualname__ = f"{function.__qualname__}_{_digest()}"
    return copy


@cache
def _digest() -> str:
    """Changes when the source of any kernel, of a class that a kernel's module names, or this file does."""
    files = {__file__} | {function.__code__.co_filename for function in _kernels.values()}
    for function in _kernels.values():
        classes = [value for value in function.__globals__.values() if isinstance(value, type)]
        modules = [sys.modules[found.__module__] for found in classes if found.__module__ in sys.modules]
        files |= {str(module.__file__) for module in modules if module.__name__.startswith("ayni.")}
    content = b"".join(Path(file).read_bytes() for file in sorted(files))
    return hashlib.sha256(content).hexdigest()[:16]
