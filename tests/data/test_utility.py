import json

import numpy as np
import pytest
from numpy.typing import NDArray

from ayni.data.records import Records
from ayni.data.utility import (
    Arm,
    ClassifierWork,
    Difference,
    Predict,
    Split,
    TooFewSeedsError,
    UtilityResult,
    compare_arms,
    text_table,
)

stats = pytest.importorskip("scipy.stats")
SEEDS = tuple(range(8))


def split_of(seed: int) -> Split:
    """Two classes on a line; a test set whose rows are numbered by their input."""
    rng = np.random.default_rng(seed)

    def draw(num: int) -> Records:
        labels = np.arange(num) % 2
        return Records(
            inputs=(rng.normal(size=(num, 1)) + 2 * labels[:, None]).astype(np.float32), labels=labels
        )

    # Measured with an offset, which is what the partner's data make up for.
    few = draw(6)
    own = Records(inputs=few.inputs + 1.5, labels=few.labels)
    return Split(own=own, partner=draw(200), test=draw(400))


def nearest_mean(work: ClassifierWork) -> Predict:
    """A classifier whose cost is its steps, and that only better data make better."""
    records = work.own if work.derived is None else work.own.joined(work.derived)
    means = np.array([records.inputs[records.labels == label].mean() for label in (0, 1)])

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.abs(inputs - means).argmin(axis=1)

    return predict


class Meter:
    """Ten joules for each training, and what arms add."""

    def __init__(self) -> None:
        self.joules = 0.0
        self.steps: list[tuple[bool, int]] = []

    def read(self) -> float:
        return self.joules

    def train(self, work: ClassifierWork) -> Predict:
        self.joules += work.num_steps / 10
        self.steps.append((work.derived is not None, work.num_steps))
        return nearest_mean(work)


def partner_data(split: Split, seed: int) -> Records:
    return split.partner


def nonsense(split: Split, seed: int) -> Records:
    return Records(inputs=split.partner.inputs, labels=1 - split.partner.labels)


def own_again(split: Split, seed: int) -> Records:
    return split.own


ARMS = (
    Arm(name="none"),
    Arm(name="partner", derive=partner_data, compared_with="none"),
    Arm(name="again", derive=own_again, compared_with="none"),
    Arm(name="nonsense", derive=nonsense, compared_with="none"),
    Arm(name="bound", derive=partner_data, compared_with="none", is_bound=True),
)


def compared(**others: object) -> UtilityResult:
    meter = Meter()
    return compare_arms(
        split_of, ARMS, train=meter.train, num_steps=100, seeds=SEEDS, read_joules=meter.read, **others
    )  # type: ignore[arg-type]


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(2, 1, 9).tolist(), rng.normal(1, 1, 9).tolist()

    found = Difference.of(a, b)

    oracle = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(oracle.low), pytest.approx(oracle.high))
    assert found.num_better == sum(x > y for x, y in zip(a, b, strict=True))


def test_one_pair_has_no_interval() -> None:
    with pytest.raises(ValueError, match="2 pairs or more"):
        Difference.of([1.0], [2.0])


def test_helps_is_said_only_above_zero() -> None:
    result = compared()

    assert {arm.name: arm.verdict for arm in result.arms} == {
        "none": "reference",
        "partner": "helps",
        "again": "no evidence",
        "nonsense": "hurts",
        "bound": "upper bound",
    }
    assert result.arm("partner").same_steps.low > 0  # type: ignore[union-attr]
    assert result.arm("again").same_steps.mean == 0  # type: ignore[union-attr]


def test_an_expensive_arm_is_compared_with_a_reference_that_trained_for_as_long() -> None:
    meter = Meter()

    def expensive(split: Split, seed: int) -> Records:
        meter.joules += 20.0
        return split.partner

    arms = (Arm(name="none"), Arm(name="expensive", derive=expensive, compared_with="none"))
    result = compare_arms(
        split_of, arms, train=meter.train, num_steps=100, seeds=SEEDS, read_joules=meter.read
    )

    # 20 J for the making and 10 J for 100 steps are 300 steps of the reference.
    assert meter.steps.count((False, 300)) == len(SEEDS)
    assert result.arm("expensive").steps_ratio == pytest.approx(3.0)
    assert result.arm("expensive").same_energy is not None
    assert result.arm("expensive").cost.joules == pytest.approx(30.0)
    assert result.unit == "J"


def test_what_helps_at_equal_steps_alone_does_not_help() -> None:
    meter = Meter()

    def train(work: ClassifierWork) -> Predict:
        predict = meter.train(work)
        # With three times the steps the reference becomes perfect.
        return truth if work.num_steps > 200 else predict

    answers: dict[bytes, NDArray[np.int64]] = {}

    def remembered(seed: int) -> Split:
        split = split_of(seed)
        answers[split.test.inputs.tobytes()] = split.test.labels
        return split

    def truth(inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        return answers[inputs.tobytes()]

    def expensive(split: Split, seed: int) -> Records:
        meter.joules += 20.0
        return split.partner

    arms = (Arm(name="none"), Arm(name="expensive", derive=expensive, compared_with="none"))
    result = compare_arms(remembered, arms, train=train, num_steps=100, seeds=SEEDS, read_joules=meter.read)

    found = result.arm("expensive")
    assert found.same_steps is not None and found.same_steps.low > 0
    assert found.same_energy is not None and found.same_energy.high < 0
    assert found.verdict == "no evidence"


def test_without_a_meter_energy_is_cpu_seconds() -> None:
    result = compare_arms(split_of, ARMS, train=nearest_mean, num_steps=100, seeds=SEEDS)

    assert result.unit == "CPU s"
    assert result.arm("none").cost.joules is None


def test_fewer_than_eight_seeds_give_no_verdict() -> None:
    with pytest.raises(TooFewSeedsError, match="3 seeds are given, and a verdict needs 8"):
        compare_arms(split_of, ARMS, train=nearest_mean, num_steps=10, seeds=(0, 1, 2))

    result = compare_arms(split_of, ARMS, train=nearest_mean, num_steps=10, seeds=(0, 1, 2), allow_few=True)
    assert result.arm("partner").verdict == "too few seeds"


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ((Arm(name="a"), Arm(name="a")), "two arms"),
        ((Arm(name="a", compared_with="b"), Arm(name="b")), "not before it"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(arms: tuple[Arm, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_arms(split_of, arms, train=nearest_mean, num_steps=10, seeds=SEEDS)


def test_all_arms_of_a_seed_see_the_same_split() -> None:
    seen: list[bytes] = []

    def train(work: ClassifierWork) -> Predict:
        seen.append(work.own.inputs.tobytes())
        return nearest_mean(work)

    meter = Meter()
    compare_arms(split_of, ARMS, train=train, num_steps=10, seeds=SEEDS, read_joules=meter.read)

    assert len(set(seen)) == len(SEEDS)


def test_a_result_comes_back_from_json_and_reads_as_a_table() -> None:
    result = compared()

    again = UtilityResult.from_json(json.loads(json.dumps(result.to_json())))

    assert again == result
    table = text_table(result)
    assert "partner" in table and "helps" in table and "no evidence" in table
    assert "8 seeds, 6 own examples, 200 of the partner, 100 steps" in table
