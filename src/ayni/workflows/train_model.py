"""Train the job's model on the house's engine, and show and guard every round."""

import shutil

from ayni.jobs.runs import Run
from ayni.train.curve import append_notice, read_curve
from ayni.train.result import RoundProgress, TrainResult
from ayni.train.training import train
from ayni.workflows.house import House
from ayni.workflows.initial_weights import keep_initial_weights
from ayni.workflows.limits import LimitGuard
from ayni.workflows.private_training import booked_privacy, linear_hint, settle_privacy
from ayni.workflows.progress import Progress


def train_model(run: Run, house: House, *, progress: Progress, guard: LimitGuard) -> TrainResult:
    """The trained model, from the last checkpoint of the run where there is one."""
    spec = run.job.spec
    spill_folder = house.spill_folder / run.id
    init_path = keep_initial_weights(run, house.hub)
    done = _finished_rounds(run)
    if spec.train.engine != "local":
        progress.advanced("train", done=done, text=f"waiting for the workers of {spec.train.engine}")
    with house.make_engine(spec.train) as engine, booked_privacy(run, house):
        result = train(
            run.job.task,
            spec.train,
            seed=spec.seed,
            folder=run.folder / "train",
            spill_folder=spill_folder,
            engine=engine,
            observer=_Watch(progress, guard, done=done),
            init_path=init_path,
        )
        settle_privacy(run, house, result)
    # Only a training that goes on needs its learners' state.
    shutil.rmtree(spill_folder, ignore_errors=True)
    if (hint := linear_hint(run, result)) is not None:
        append_notice(run.folder / "train", hint, now=house.now())
        progress.advanced("train", done=spec.train.rounds, text=hint)
    return result


def _finished_rounds(run: Run) -> int:
    """Rounds that earlier tries wrote down."""
    return max((line["round"] for line in read_curve(run.folder / "train")), default=0)


class _Watch:
    """Shows each round, and stops at a limit. Fulfils `ayni.train.result.Observer`."""

    def __init__(self, progress: Progress, guard: LimitGuard, *, done: int) -> None:
        self._progress = progress
        self._guard = guard
        self._done = done

    def round_finished(self, progress: RoundProgress) -> None:
        self._done = progress.round
        self._progress.advanced("train", done=self._done, text=text_of_round(progress))
        self._guard.check()

    def noticed(self, message: str) -> None:
        self._progress.advanced("train", done=self._done, text=message)


def text_of_round(progress: RoundProgress) -> str:
    """A round in a few words, what matters most first: a narrow terminal cuts off the end."""
    metrics = [f"{name} {value:.4g}" for name, value in progress.metrics.items()]
    used = [] if progress.utilisation is None else [f"utilisation {progress.utilisation:.0%}"]
    dropped = [f"{progress.num_dropped} dropped"] if progress.num_dropped else []
    return ", ".join(
        [
            f"loss {progress.train_loss:.3f}",
            *metrics,
            f"{progress.samples_per_second:,.0f} samples/s",
            *used,
            f"{progress.learners_alive} learners",
            f"{_bytes(progress.bytes_sent)} sent",
            *dropped,
        ]
    )


def text_of(result: TrainResult) -> str:
    """The result in a few words."""
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    used = "" if result.utilisation is None else f", utilisation {result.utilisation:.0%}"
    sent = f"{_bytes(result.bytes_sent)} exchanged"
    private = "" if result.privacy is None else f", epsilon {result.privacy['epsilon']:.3g}"
    return f"{metrics} on validation; {result.samples:,} samples, {sent}{used}{private}"


def _bytes(number: int) -> str:
    """In MB, or in kB where that would say next to nothing."""
    return f"{number / 1e6:.1f} MB" if number >= 1_000_000 else f"{number / 1e3:.1f} kB"
