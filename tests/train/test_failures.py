import pytest

from ayni.train.engine import AttemptFailed, LearnersLostError
from ayni.train.events import GiveUp
from ayni.train.failures import Failures
from ayni.train.local import NonFiniteLossError
from ayni.train.shared_model import StaleModelError

NAN = NonFiniteLossError(loss=float("nan"), where="round 2, learner 1, step 3", learning_rate=0.1)
GIVE_UP = GiveUp(round=2, learner=1, attempts=5)


def failed(error: Exception, round_: int = 2) -> AttemptFailed:
    return AttemptFailed(round=round_, learner=1, attempt=1, error=error)


def test_an_error_that_would_come_again_ends_a_training_that_can_spare_nobody() -> None:
    with pytest.raises(NonFiniteLossError):
        Failures(can_spare=False).note_error(failed(NAN))


def test_it_costs_one_learner_where_there_is_a_quorum_and_is_raised_when_too_few_are_left() -> None:
    failures = Failures(can_spare=True)

    failures.note_error(failed(NAN))

    assert "step 3" in failures.reason_of(1)
    assert failures.given_up(GIVE_UP) is NAN


def test_what_another_try_may_not_meet_never_ends_the_training() -> None:
    failures = Failures(can_spare=False)

    failures.note_error(failed(StaleModelError(4)))
    failures.note_error(failed(RuntimeError("connection closed")))

    error = failures.given_up(GIVE_UP)
    assert isinstance(error, LearnersLostError)
    assert "in 5 attempts; the last time: connection closed" in str(error)


@pytest.mark.parametrize("can_spare", [True, False])
def test_what_fails_before_the_first_order_and_would_come_again_is_raised(can_spare: bool) -> None:
    with pytest.raises(NonFiniteLossError):
        Failures(can_spare=can_spare).note_error(failed(NAN, round_=0))


def test_a_learner_that_cannot_be_built_is_raised_when_it_cannot_be_spared() -> None:
    failures = Failures(can_spare=False)

    with pytest.raises(RuntimeError, match="no such file"):
        failures.note_error(failed(RuntimeError("no such file"), round_=0))


def test_a_later_loss_is_the_last_reason() -> None:
    failures = Failures(can_spare=True)
    failures.note_error(failed(NAN))

    failures.note(1, "its worker process died")

    assert isinstance(failures.given_up(GIVE_UP), LearnersLostError)
    assert failures.reason_of(1) == "its worker process died"
    assert failures.reason_of(0) == "no answer before the round's deadline"
