"""Policies as values: names, checks, strength, what is recorded."""

import pytest

from ayni.data.augmentation.operations import Crop, CutMix, Flip, Mixup, Noise, Rotate, Smote
from ayni.data.augmentation.policy import (
    POLICIES,
    AugmentConfig,
    Policy,
    PolicyError,
    named_policy,
    policy_of,
)


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_ready_made_policy_survives_json_and_is_nothing_at_strength_zero(name: str) -> None:
    policy = named_policy(name)

    assert Policy.from_json(policy.to_json()) == policy
    assert policy.scaled(1.0) == policy
    assert policy.probability_of_change > 0
    assert policy.scaled(0.0).probability_of_change == 0


def test_strength_multiplies_what_operations_do() -> None:
    policy = Policy(name="x", operations=(Rotate(degrees=10), Noise(deviation=0.1), Crop(padding=0.9)))

    stronger = policy.scaled(2.0)

    assert stronger.operations == (Rotate(degrees=20), Noise(deviation=0.2), Crop(padding=1.0))


def test_operations_come_after_those_of_the_policy() -> None:
    config = AugmentConfig(policy="crop_flip", operations=({"noise": {"deviation": 0.2}},), strength=0.5)

    made = config.made_policy()

    assert made.name == "crop_flip+own"
    assert made.operations == (Crop(padding=0.0625), Flip(), Noise(deviation=0.1))


def test_the_effective_ratio_is_views_shown_over_records() -> None:
    config = AugmentConfig(operations=({"flip": {"probability": 0.5}},), share=0.5)

    # The reference's own figure: 500 steps of 64 on 100 records with a policy that always changes: 320.
    always = AugmentConfig(policy="digits")

    assert always.rho_eff(num_shown=500 * 64, num_records=100) == pytest.approx(320)
    assert config.rho_eff(num_shown=500 * 64, num_records=100) == pytest.approx(80)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ((), "no operation"),
        ((Flip(), Smote()), "images and table"),
        ((CutMix(), Mixup()), "twice"),
    ],
)
def test_operations_that_do_not_go_together_are_refused(operations: tuple[object, ...], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy(name="x", operations=operations)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"rotat": {}}], "did you mean 'rotate'"),
        ([{"rotate": {"degree": 5}}], "did you mean 'degrees'"),
        ([{"rotate": {"degrees": 500}}], "from 0 to 180"),
        ([{"rotate": 15}], "a mapping of settings"),
    ],
)
def test_mistakes_in_a_list_of_operations_name_the_nearest(
    entries: list[dict[str, dict[str, float]]], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        policy_of(entries)


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(PolicyError, match="'digits'"):
        named_policy("digit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"strength": 11.0}, "strength"),
        ({"policy": "nothing"}, "no policy"),
        ({"policy": None}, "or both"),
        ({"operations": ({"smote": {}},)}, "images and table"),
        ({"policy": "table", "backend": "kornia"}, "for images"),
    ],
)
def test_bad_settings_are_refused_as_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**({"policy": "digits"} | changes))  # type: ignore[arg-type]
