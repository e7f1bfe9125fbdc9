"""What a worker process runs: functions that the engine submits, and the learners it keeps in memory.

Learners are a cache: each can be built anew from the session, the base parameters and the spilled
optimizer state. Errors come back as values (see packed_error).
"""

import os
from dataclasses import replace

from ayni.task import Task
from ayni.train.engine import LearnerUpdate, Order, Session
from ayni.train.learner import Learner
from ayni.train.named_arrays import NamedArrays
from ayni.train.packed_error import PackedError, pack_error
from ayni.train.sync import MeetingPlace, run_alone, run_in_gang

_learners: dict[tuple[str, int], Learner] = {}
_tasks: dict[str, Task] = {}


def warm_up() -> int:
    """Have torch imported and limited to one thread before there is work; returns the process id."""
    import torch

    torch.set_num_threads(1)
    return os.getpid()


def prepare(session: Session, learner: int) -> PackedError | None:
    """Build a learner ahead of its first round."""
    warm_up()
    try:
        _learner_of(session, learner)
    except Exception as error:
        return pack_error(error)
    return None


def work(
    session: Session, order: Order, place: MeetingPlace | None, base: NamedArrays
) -> LearnerUpdate | PackedError:
    """Work on an attempt, alone or as a rank of a gang; the order comes without its arrays."""
    order = replace(order, base=base)
    try:
        round_of_work = _learner_of(session, order.learner).run_round(order)
        return run_alone(round_of_work) if place is None else run_in_gang(round_of_work, place)
    except Exception as error:
        return pack_error(error)


def _learner_of(session: Session, learner: int) -> Learner:
    """The learner kept in memory, or a new one; a new session forgets those of the one before."""
    if session.session_id not in _tasks:
        _tasks.clear()
        _learners.clear()
        _tasks[session.session_id] = session.task.load()
    key = (session.session_id, learner)
    if key not in _learners:
        _learners[key] = Learner(session, _tasks[session.session_id], learner)
    return _learners[key]
