"""How good a variant is: metrics on both splits, an interval, and what changed against the full model.

What was found goes into the variant's record, so that it is looked for once.

Not covered: cost (`ayni.compress.measure_variants`).
"""

from collections.abc import Callable
from functools import cached_property

from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.evidence.answers import NoAnswers, RecordedAnswers, changes_between, evaluate_recorded
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.evidence.changes import Changes
from ayni.compress.evidence.evaluate import evaluate_split, metric_interval
from ayni.compress.records import FULL, Made, Records
from ayni.compress.variants import MAX_INDICES, Artefact, Quality
from ayni.task import Task


class Judge:
    """Judges the variants of one model; the full model comes first, for the others need its metric's name.

    Args:
        task: evaluates.
        records: of the variants.
        open_made: a variant, ready for inference.
        max_drop: what a class or slice may lose before it counts as lost.
        takes_arrays: the task is one of Keras, whose batches are numpy arrays.
    """

    def __init__(
        self,
        task: Task,
        records: Records,
        open_made: Callable[[Made], Runtime],
        *,
        max_drop: float,
        takes_arrays: bool = False,
    ) -> None:
        self._task, self._records, self._open = task, records, open_made
        self._max_drop, self._takes_arrays = max_drop, takes_arrays
        self._full: Made | None = None
        self._metric = ""

    def judge(self, made: Made, *, is_candidate: bool = True) -> Artefact:
        """The variant with its quality, from its record if it is there."""
        record, is_full = made.record, made.name == FULL
        if is_full:
            self._full = made
        if "quality" not in record:
            quality, answers = self._quality(self._open(made), is_reference=is_full)
            changes, reason = (None, "the full model itself") if is_full else self._changes(answers)
            record["quality"] = quality.to_json()
            record["changes"] = None if changes is None else changes.to_json(max_indices=MAX_INDICES)
            record["no_changes_reason"] = reason
            self._records.keep(made)
        if is_full:
            self._metric = next(iter(record["quality"]["validation"]))
        making, found = record["making"], record["changes"]
        return Artefact(
            name=made.name,
            file=made.file,
            companions=tuple(made.files[1:]),
            runtime=record["runtime"],
            is_candidate=is_candidate and not is_full,
            num_parameters=record["num_parameters"],
            stored_bytes=sum(file.stat().st_size for file in made.files),
            quality=Quality.from_json(record["quality"]),
            note=record["note"],
            steps=made.steps,
            making=None if making is None else EnergyInterval.from_json(making),
            changes=None if found is None else Changes.from_json(found),
            no_changes_reason=record["no_changes_reason"],
        )

    def quick_metric(self, made: Made | None, *, max_examples: int) -> float | None:
        """The first metric on a part of the validation split, of the full model for None.

        None when it is not finite.
        """
        metrics = evaluate_split(
            self._task,
            self._open(made or self._judged_full),
            "validation",
            max_examples=max_examples,
            takes_arrays=self._takes_arrays,
        )
        return metrics.get(self._metric)

    @property
    def _judged_full(self) -> Made:
        assert self._full is not None, "the full model is judged first"
        return self._full

    def _quality(
        self, runtime: Runtime, *, is_reference: bool
    ) -> tuple[Quality, RecordedAnswers | NoAnswers]:
        task, takes_arrays = self._task, self._takes_arrays
        validation = evaluate_split(
            task, runtime, "validation", is_reference=is_reference, takes_arrays=takes_arrays
        )
        test, answers = evaluate_recorded(
            task, runtime, "test", is_reference=is_reference, takes_arrays=takes_arrays
        )
        metric = self._metric or next(iter(validation))
        value = test.get(metric)
        interval = (
            None
            if value is None
            else metric_interval(task, runtime, "test", metric=metric, value=value, takes_arrays=takes_arrays)
        )
        return Quality(validation=validation, test=test, interval=interval), answers

    def _changes(self, after: RecordedAnswers | NoAnswers) -> tuple[Changes | None, str]:
        before = self._full_answers
        for answers in (before, after):
            if isinstance(answers, NoAnswers):
                return None, answers.reason
        return changes_between(before, after, max_drop=self._max_drop), ""

    @cached_property
    def _full_answers(self) -> RecordedAnswers | NoAnswers:
        runtime = self._open(self._judged_full)
        return evaluate_recorded(self._task, runtime, "test", takes_arrays=self._takes_arrays)[1]
