"""Noise and epsilon, with a second accountant as a second opinion."""

import json
import math
from typing import get_args

import pytest

from ayni.train.config import TrainConfig
from ayni.train.privacy_accounting import (
    PrivacySpent,
    PrivacyTargetError,
    epsilon_of,
    plan_privacy,
    privacy_spent,
)
from ayni.train.privacy_config import AccountantName, PrivacyConfig

pytest.importorskip("opacus")


def make_config(
    epsilon: float = 1.0,
    *,
    delta: float = 1e-5,
    accountant: AccountantName = "prv",
    spare_attempts: int = 2,
    learners: int = 1,
    rounds: int = 4,
    batch_size: int = 64,
) -> TrainConfig:
    privacy = PrivacyConfig(
        epsilon=epsilon, delta=delta, accountant=accountant, spare_attempts=spare_attempts
    )
    return TrainConfig(
        privacy=privacy, learners=learners, rounds=rounds, local_steps=50, batch_size=batch_size
    )


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.05, 200), (4.0, 0.2, 200), (0.8, 0.01, 1000)])
def test_epsilon_agrees_with_a_second_accountant(noise: float, rate: float, steps: int) -> None:
    """dp-accounting's PLD of the same mechanism is exact to its grid, so ours may not be below it."""
    pld = pytest.importorskip("dp_accounting.pld")
    import dp_accounting

    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), steps
    )
    expected = pld.PLDAccountant().compose(event).get_epsilon(1e-5)

    prv, rdp = (
        epsilon_of(name, noise_multiplier=noise, sample_rate=rate, steps=steps, delta=1e-5)
        for name in get_args(AccountantName)
    )

    assert expected - 2e-3 < prv < expected + 0.03
    assert prv < rdp < 1.3 * expected


def test_one_step_without_sampling_is_the_gaussian_mechanism() -> None:
    """Closed form: delta = Phi(1/2s - es) - e^e Phi(-1/2s - es), Balle and Wang 2018, for sensitivity 1."""
    noise = 2.0
    epsilon = epsilon_of("prv", noise_multiplier=noise, sample_rate=1.0, steps=1, delta=1e-3)

    def phi(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    def delta_of(e: float) -> float:
        return phi(1 / (2 * noise) - e * noise) - math.exp(e) * phi(-1 / (2 * noise) - e * noise)

    assert delta_of(epsilon) <= 1e-3 <= delta_of(epsilon - 0.03)


@pytest.mark.parametrize(("epsilon", "accountant"), [(0.1, "prv"), (1.0, "prv"), (8.0, "prv"), (1.0, "rdp")])
def test_noise_is_enough_for_all_attempts_and_no_more_than_needed(
    epsilon: float, accountant: AccountantName
) -> None:
    config = make_config(epsilon, accountant=accountant, spare_attempts=1)

    plan = plan_privacy(config, num_examples=1000)

    assert plan is not None
    assert (plan.max_attempts, plan.steps_per_attempt, plan.sample_rate) == (5, 50, 0.064)
    spent = privacy_spent(plan, config, num_begun=5, num_accepted=4)
    assert 0.97 * epsilon - 0.02 < spent.epsilon <= epsilon
    assert (spent.steps, spent.lost_attempts) == (250, 1)


def test_learners_draw_from_the_same_examples_so_their_steps_add_up() -> None:
    one = plan_privacy(make_config(learners=1, rounds=8, spare_attempts=0), num_examples=1000)
    four = plan_privacy(make_config(learners=4, rounds=2, spare_attempts=0), num_examples=1000)

    assert one is not None and four is not None
    assert one.noise_multiplier == four.noise_multiplier


def test_what_was_not_needed_is_not_spent_and_what_was_lost_is() -> None:
    config = make_config(spare_attempts=2)
    plan = plan_privacy(config, num_examples=1000)
    assert plan is not None

    clean = privacy_spent(plan, config, num_begun=4, num_accepted=4)
    broken = privacy_spent(plan, config, num_begun=6, num_accepted=4)

    assert clean.epsilon < broken.epsilon <= 1.0
    assert clean.accountant.startswith("PRV, Opacus ")
    assert PrivacySpent.from_json(json.loads(json.dumps(clean.to_json()))) == clean
    assert privacy_spent(plan, config, num_begun=0, num_accepted=0).epsilon == 0


def test_a_delta_that_publishing_an_example_would_meet_is_refused() -> None:
    with pytest.raises(PrivacyTargetError, match=r"50 training examples.*less than 0\.02"):
        plan_privacy(make_config(delta=0.02, batch_size=8), num_examples=50)


def test_a_target_out_of_reach_says_what_to_change() -> None:
    # The bound of the PRV accountant never falls below its own error.
    with pytest.raises(PrivacyTargetError, match="No noise keeps 300 steps"):
        plan_privacy(make_config(1e-5), num_examples=1000)


def test_a_job_without_privacy_has_no_plan() -> None:
    assert plan_privacy(TrainConfig(), num_examples=10) is None
