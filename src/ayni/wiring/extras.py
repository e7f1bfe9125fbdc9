"""Which extra a package belongs to, so that what is missing is named before any work is spent."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError

if TYPE_CHECKING:
    from ayni.jobs.loading import Job

# Which module needs which extra; the first that is missing is named.
_EXTRA_OF_MODULE = {
    "numpy": "train",
    "torch": "train",
    "safetensors": "train",
    "distributed": "train",
    "xxhash": "train",
    "onnx": "compress",
    "onnxscript": "compress",
    "onnxruntime": "compress",
    "torch_pruning": "compress",
    "captum": "explain",
    "matplotlib": "explain",
    "scipy": "explain",
    "sklearn": "explain",
    "opacus": "privacy",
}


def require_modules(job: "Job") -> None:
    """Name the extra that is missing before any work is spent.

    Raises:
        MissingExtraError: a package that this job needs is not installed.
    """
    wanted = {"train", "explain"} | ({"compress"} if job.spec.compress is not None else set())
    wanted |= {"privacy"} if job.spec.train.privacy is not None else set()
    for module, extra in _EXTRA_OF_MODULE.items():
        if extra in wanted and importlib.util.find_spec(module) is None:
            raise MissingExtraError(extra=extra if len(wanted) == 1 else "all", package=module)


def require(modules: Sequence[str], *, extra: str) -> None:
    """Name the extra that is missing.

    Raises:
        MissingExtraError: a module is not installed.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(extra=extra, package=module)
