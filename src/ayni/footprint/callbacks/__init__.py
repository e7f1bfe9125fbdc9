"""Callbacks that measure a training of another library, epoch by epoch.

    Transformers    Trainer(..., callbacks=[TransformersCallback(zone="DE")])
    Lightning       Trainer(callbacks=[LightningCallback(zone="DE")])
    Keras 3         model.fit(..., callbacks=[KerasCallback(zone="DE")])

Each library is imported when its callback is first asked for. What they have in common is
`training_measurement`.

Not covered: libraries without callbacks: `with measure("training") as m:` and `m.step("epoch")` do the same.
"""

from typing import TYPE_CHECKING, Any

from ayni.errors import UserError

if TYPE_CHECKING:
    from ayni.footprint.callbacks.keras_callback import KerasCallback as KerasCallback
    from ayni.footprint.callbacks.lightning_callback import LightningCallback as LightningCallback
    from ayni.footprint.callbacks.transformers_callback import TransformersCallback as TransformersCallback

# Where each is, and which package it needs.
_HOME_OF_NAME = {
    "KerasCallback": ("keras_callback", "keras"),
    "LightningCallback": ("lightning_callback", "lightning"),
    "TransformersCallback": ("transformers_callback", "transformers"),
}


class MissingFrameworkError(UserError):
    """A callback was asked for, and its library is not installed."""

    def __init__(self, callback: str, package: str) -> None:
        self.package = package
        super().__init__(f"{callback} needs the package {package!r}. Run: pip install {package}")


def __getattr__(name: str) -> Any:
    """Import a callback and its library when it is first used (PEP 562).

    Raises:
        MissingFrameworkError: the library is not installed.
    """
    if name not in _HOME_OF_NAME:
        raise AttributeError(f"module 'ayni.footprint.callbacks' has no attribute {name!r}")
    from importlib import import_module

    module, package = _HOME_OF_NAME[name]
    try:
        return getattr(import_module(f"ayni.footprint.callbacks.{module}"), name)
    except ModuleNotFoundError as error:
        # Something that the library itself misses is for the library to say.
        if (error.name or "").replace("pytorch_lightning", "lightning").partition(".")[0] != package:
            raise
        raise MissingFrameworkError(name, package) from error


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(_HOME_OF_NAME)
