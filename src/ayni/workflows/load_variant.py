"""A published variant, ready to be called as the model is called.

Compressed forms that hold a graph (ONNX, OpenVINO, LiteRT) need no code of the repository. Packed weights
and those that Keras quantized fill the model that the repository's task builds: load only what you trust.

Not covered: moving a variant to another device; graphs run on the CPU here.
"""

from pathlib import PurePosixPath
from typing import Any

from ayni.compress.keras.keras_runtime import open_quantized
from ayni.compress.keras.litert import LiteRtRuntime
from ayni.compress.open_form import open_form, runtime_of
from ayni.hub.config import CONFIG_FILE, FULL, UnusableConfigError, read_config
from ayni.hub.loading import load_model, load_task
from ayni.hub.prediction import UnknownVariantError
from ayni.hub.snapshots import Snapshot


def load_variant(snapshot: Snapshot, variant: str, *, num_threads: int = 1) -> Any:
    """A callable with the model's inputs and outputs; for `full` the model itself.

    Raises:
        UnknownVariantError: the repository has no such variant.
        DamagedFileError: a file is not what was published.
        UnusableConfigError: the variant's file is not part of the revision.
        PackedFileError, PackedModelMismatchError, RuntimeFailedError, LiteRtFailedError,
            DamagedKerasFileError: the file cannot be used.
        MissingExtraError: the runtime is not installed.
    """
    if variant == FULL:
        return load_model(snapshot)
    snapshot.verify()
    config = read_config(snapshot.folder)
    if variant not in config.variants:
        raise UnknownVariantError(variant, list(config.variants))
    name = config.variants[variant]
    if name not in snapshot.files:
        reason = f"the variant's file {name} is not part of the revision"
        raise UnusableConfigError(snapshot.folder / CONFIG_FILE, reason)
    file = snapshot.folder / PurePosixPath(name)
    runtime = runtime_of(file)
    if runtime == "litert":
        return LiteRtRuntime(file, num_threads=num_threads, sha256=snapshot.files[name].sha256)
    if runtime == "keras":
        return open_quantized(load_task(snapshot), file)
    return open_form(
        file,
        runtime,
        lambda: load_task(snapshot).build_model(),
        num_threads=num_threads,
        expected_sha256=snapshot.files[name].sha256,
    )
