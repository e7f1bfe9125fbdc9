"""Variants are made once, judged once, and found again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ayni.compress.artefacts import ArtefactMaker, steps_json
from ayni.compress.ports import DeclaredPowerMeter, PowerEstimate
from ayni.compress.steps import DistillStep, PruneStep, QuantizeStep, RecoverStep
from ayni.compress.stored_forms import CannotStoreError
from ayni.task import Task


def maker_for(task: Task, file: Path, folder: Path, meter: Any = None) -> ArtefactMaker:
    maker = ArtefactMaker(
        task, file, seed=1, folder=folder, device=torch.device("cpu"), meter=meter or DeclaredPowerMeter()
    )
    maker.full()
    return maker


def nothing(done: int, total: int) -> None:
    pass


class BlindMeter:
    """A meter that cannot tell."""

    def measure(self, function: Callable[[], int]) -> PowerEstimate:
        function()
        return PowerEstimate(joules=None, low_joules=None, high_joules=None, tier="none")  # type: ignore[arg-type]


def test_what_took_long_is_kept_by_all_that_was_done_before(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    maker = maker_for(bars, bars_file, tmp_path)
    steps = (PruneStep(weights=0.5), RecoverStep(epochs=1))
    draft = maker.draft()
    for step in steps:
        maker.change(draft, step, nothing)
    made_at = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "weights").iterdir()}

    again = maker_for(bars, bars_file, tmp_path)
    other = again.draft()
    for step in steps:
        again.change(other, step, nothing)

    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "weights").iterdir()} == made_at
    assert len(made_at) == 4  # two steps, weights and record each
    assert all(
        torch.equal(one, two)
        for one, two in zip(draft.model.parameters(), other.model.parameters(), strict=True)
    )


def test_weights_that_were_torn_are_made_again(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker, step = maker_for(bars, bars_file, tmp_path), PruneStep(weights=0.5, method="magnitude")
    maker.change(maker.draft(), step, nothing)
    (file,) = (tmp_path / "weights").glob("*.safetensors")
    good = file.read_bytes()
    file.write_bytes(good[:-7])

    maker.change(maker.draft(), step, nothing)

    assert file.read_bytes() == good


def test_a_record_that_is_no_json_is_made_again(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path)
    first = maker.store(maker.draft(), "int8", step=QuantizeStep())
    (tmp_path / "int8.json").write_text("{", encoding="utf-8")

    assert maker.store(maker.draft(), "int8", step=QuantizeStep()).quality == first.quality
    assert json.loads((tmp_path / "int8.json").read_text(encoding="utf-8"))["runtime"] == "onnxruntime"


def test_a_variant_says_what_was_done_and_what_it_took(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path)
    draft = maker.draft()
    note = maker.change(draft, DistillStep(epochs=1), nothing)
    distilled = maker.store(draft, "distilled", note=note)
    int8 = maker.store(draft, "int8", step=QuantizeStep(mode="dynamic"))

    assert int8.steps == tuple(steps_json((DistillStep(epochs=1), QuantizeStep(mode="dynamic"))))
    assert distilled.note.startswith("1 epochs at T = 4")
    assert distilled.making is not None
    assert int8.making is not None
    assert draft.making is not None
    assert 0 < draft.making.joules < int8.making.joules


def test_an_unknown_energy_stays_unknown(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path, BlindMeter())
    draft = maker.draft()
    maker.change(draft, PruneStep(weights=0.5, method="magnitude"), nothing)

    assert maker.store(draft, "sparse").making is None


def test_changes_are_those_against_the_full_model(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path)
    draft = maker.draft()
    maker.change(draft, PruneStep(threshold=0.2), nothing)

    found = maker.store(draft, "sparse").changes

    assert found is not None
    assert found.accuracy.num_examples == 96
    assert found.accuracy.before == pytest.approx(1.0, abs=0.05)
    assert found.num_lost > 0
    assert {group.name for group in found.groups} == {"0", "1", "2"}


def test_a_task_whose_answers_are_no_classes_gets_a_reason(
    symbols: Task, symbols_file: Path, tmp_path: Path
) -> None:
    maker = maker_for(symbols, symbols_file, tmp_path)

    artefact = maker.store(maker.draft(), "int8", step=QuantizeStep())

    assert artefact.changes is None
    assert artefact.no_changes_reason


def test_a_step_that_fails_leaves_the_variants_before_it(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path)
    draft = maker.draft()
    maker.change(draft, PruneStep(channels=0.5), nothing)
    pruned = maker.store(draft, "pruned")
    before = pruned.file.read_bytes()

    with pytest.raises(CannotStoreError):
        maker.store(draft, "int4", step=QuantizeStep(bits=4))

    assert pruned.file.read_bytes() == before
    assert maker.store(draft, "pruned").quality == pruned.quality


def test_a_quick_metric_looks_at_few_examples(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    maker = maker_for(bars, bars_file, tmp_path)

    assert maker.quick_metric(None, max_examples=10) in [index / 10 for index in range(11)]
