"""Make the variants that the job asks for, measured by the run's meter."""

from collections.abc import Callable
from typing import Any

from ayni.compress.keras.pipeline import compress_keras
from ayni.compress.pipeline import compress
from ayni.compress.variants import CompressResult
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.hub.loading import load_model
from ayni.jobs.runs import Run
from ayni.keras_weights import is_keras
from ayni.train.learner import build_model
from ayni.train.local import resolve_device
from ayni.train.result import TrainResult
from ayni.workflows.house import House
from ayni.workflows.limits import LimitGuard
from ayni.workflows.progress import Progress


def compress_model(
    run: Run,
    house: House,
    trained: TrainResult,
    *,
    meter: NodeMeter,
    progress: Progress,
    guard: LimitGuard,
) -> CompressResult:
    """All variants with their evidence, and the chosen one."""
    spec = run.job.spec
    assert spec.compress is not None
    task = run.job.task.load()
    if is_keras(build_model(task, seed=spec.seed)):
        return compress_keras(
            task,
            run.folder / trained.model_path,
            spec.compress,
            seed=spec.seed,
            folder=run.folder / "compress",
            meter=meter,
            observer=_Watch(progress, guard.check),
            metric_direction=spec.metric.better,
        )
    return compress(
        task,
        run.folder / trained.model_path,
        spec.compress,
        seed=spec.seed,
        folder=run.folder / "compress",
        meter=meter,
        observer=_Watch(progress, guard.check),
        metric_direction=spec.metric.better,
        device=resolve_device(spec.train.device),
        load_model=lambda name: _published_model(house, name),
    )


def _published_model(house: House, name: str) -> Any:
    """A model of the local hub with its own code: `owner/name` or `owner/name@revision`."""
    repository, _, revision = name.partition("@")
    return load_model(house.hub.find(repository, revision or None))


class _Watch:
    """Fulfils `ayni.compress.ports.Observer`."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress = progress
        self._check = check

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        self._progress.advanced("compress", done=done / total, text=text)
        self._check()


def text_of(result: CompressResult) -> str:
    """The result in a few words."""
    if result.chosen is None:
        return f"no variant qualifies: {result.reason}"
    full, chosen = result.variant("full"), result.variant(result.chosen)
    ratio = chosen.artefact.stored_bytes / full.artefact.stored_bytes
    speed_up = full.latency.p50_seconds / chosen.latency.p50_seconds
    return f"chose {result.chosen}: {ratio:.0%} of the bytes, {speed_up:.1f} times as fast"
