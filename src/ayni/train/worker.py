"""What a worker process runs: functions that the engine submits, and the learners it keeps in memory.

Learners are a cache: each can be built anew from the session, the base parameters and the spilled
optimizer state. Errors come back as values (see packed_error).
"""

import os
from dataclasses import replace

from ayni.train.engine import LearnerUpdate, Order, Session
from ayni.train.learner import Learner
from ayni.train.named_arrays import NamedArrays
from ayni.train.packed_error import PackedError, pack_error
from ayni.train.sync import MeetingPlace, run_alone, run_in_gang

_learners: dict[tuple[str, int], Learner] = {}


def warm_up() -> int:
    """Have torch imported and limited to one thread before there is work; returns the process id."""
    import torch

    torch.set_num_threads(1)
    return os.getpid()


def prepare(session: Session, learner: int) -> PackedError | None:
    """Build a learner ahead of its first round; learners of other sessions are forgotten."""
    warm_up()
    for key in [key for key in _learners if key[0] != session.session_id]:
        del _learners[key]
    try:
        _learners[session.session_id, learner] = Learner(session, learner)
    except Exception as error:
        return pack_error(error)
    return None


def work(
    session: Session, order: Order, place: MeetingPlace | None, base: NamedArrays
) -> LearnerUpdate | PackedError:
    """Work on an attempt, alone or as a rank of a gang; the order comes without its arrays."""
    order = replace(order, base=base)
    try:
        key = (session.session_id, order.learner)
        if key not in _learners:
            _learners[key] = Learner(session, order.learner)
        round_of_work = _learners[key].run_round(order)
        return run_alone(round_of_work) if place is None else run_in_gang(round_of_work, place)
    except Exception as error:
        return pack_error(error)
