"""Ayni: train, compress, publish and understand models together, and know what each result cost.

The names below are the whole public interface; everything heavy is imported on first use, so that
`import ayni` stays cheap.
"""

from typing import TYPE_CHECKING, Any

__all__ = [
    "AyniError",
    "UserError",
    "__version__",
    "footprint",
    "load",
    "plan",
    "predict",
    "resume",
    "run",
    "verify",
]

if TYPE_CHECKING:
    __version__: str
    from ayni import footprint
    from ayni.errors import AyniError, UserError
    from ayni.wiring import load, plan, predict, resume, run, verify

_HOME_OF_NAME = {
    "AyniError": "ayni.errors",
    "UserError": "ayni.errors",
    "footprint": "ayni.footprint",
    "load": "ayni.wiring",
    "plan": "ayni.wiring",
    "predict": "ayni.wiring",
    "resume": "ayni.wiring",
    "run": "ayni.wiring",
    "verify": "ayni.wiring",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("ayni")
    if name not in _HOME_OF_NAME:
        raise AttributeError(f"module 'ayni' has no attribute {name!r}")
    from importlib import import_module

    home = import_module(_HOME_OF_NAME[name])
    return home if home.__name__ == f"ayni.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(__all__)
