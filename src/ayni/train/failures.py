"""Why learners failed, and whether the training can go on without one that does.

An error that Ayni raised on purpose (a loss that is NaN, a full disk, a task that raised) comes again when
the same is tried again, so it ends the training at once, unless the training can spare a learner: then
the learner uses up its attempts and is excluded, and only when too few are left the error is raised.
"""

from ayni.errors import AyniError
from ayni.train.codec import FrameError
from ayni.train.engine import AttemptFailed, LearnersLostError
from ayni.train.events import GiveUp
from ayni.train.fetched_frames import UpdateGoneError
from ayni.train.held_base import BaseMissingError
from ayni.train.packed_error import LearnerError
from ayni.train.shared_model import StaleModelError

# What the next attempt may well not meet.
_PASSING = (LearnerError, BaseMissingError, StaleModelError, UpdateGoneError, FrameError)


class Failures:
    """The last reason of each learner. `can_spare` says whether rounds may go on without one."""

    def __init__(self, *, can_spare: bool) -> None:
        self._can_spare = can_spare
        self._reasons: dict[int, str] = {}
        self._errors: dict[int, AyniError] = {}

    def note(self, learner: int, reason: str) -> None:
        """A learner was lost, or sent what cannot be used."""
        self._reasons[learner] = reason
        self._errors.pop(learner, None)

    def note_error(self, happened: AttemptFailed) -> None:
        """An attempt ended with an error.

        Raises:
            AyniError: the error itself, when no other try and no other learner can help.
        """
        error = happened.error
        will_come_again = isinstance(error, AyniError) and not isinstance(error, _PASSING)
        # Round 0 is before the first order: a learner that fails there has no attempts to use up.
        is_before_orders = happened.round == 0
        if will_come_again and (is_before_orders or not self._can_spare):
            raise error
        if is_before_orders and not self._can_spare:
            raise error
        self.note(happened.learner, str(error))
        if will_come_again and isinstance(error, AyniError):
            self._errors[happened.learner] = error

    def reason_of(self, learner: int) -> str:
        """The last reason, for a person."""
        return self._reasons.get(learner, "no answer before the round's deadline")

    def given_up(self, command: GiveUp) -> AyniError:
        """What to raise when too few learners are left."""
        return self._errors.get(command.learner) or LearnersLostError(
            learner=command.learner,
            attempts=command.attempts,
            where=f"round {command.round}",
            reason=self.reason_of(command.learner),
        )
