"""What a worker process runs: functions that the engine submits, and the learners it keeps in memory.

Learners are a cache: each can be built anew from the session, the model in the order and what it spilled.
Errors come back as values (see packed_error). `deliver` may be called while `work` runs in another thread.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

from ayni.task import Task
from ayni.train.engine import Frame, LearnerUpdate, MergedPart, Order, Session
from ayni.train.inbox import Inbox
from ayni.train.learner import Learner
from ayni.train.packed_error import PackedError, pack_error
from ayni.train.round_of_work import RoundOfWork, drive
from ayni.train.sync import MeetingPlace, run_in_gang

_learners: dict[tuple[str, int], Learner] = {}
_tasks: dict[str, Task] = {}
_inbox = Inbox()


def warm_up(num_threads: int = 1) -> int:
    """Have torch imported and its threads limited before there is work; returns the process id."""
    import torch

    torch.set_num_threads(num_threads)
    # The first optimizer of a process imports a second's worth of modules, which no round should pay for.
    torch.optim.AdamW([torch.zeros(1)])
    return os.getpid()


def prepare(session: Session, learner: int) -> PackedError | None:
    """Build a learner ahead of its first round."""
    try:
        _learner_of(session, learner)
    except Exception as error:
        return pack_error(error)
    return None


def work(
    session: Session, order: Order, place: MeetingPlace | None, frames: Sequence[Frame] | None = None
) -> LearnerUpdate | PackedError:
    """Work on an attempt, alone or as a rank of a gang.

    Frames may come beside the order, because a cluster moves arrays well only on the outside of objects.
    """
    if frames:
        order = replace(order, model=replace(order.model, frames=tuple(frames)))
    try:
        round_of_work = _learner_of(session, order.learner).run_round(order)
        if place is not None:
            return run_in_gang(round_of_work, place)
        return _run_alone(round_of_work, session.session_id, order.learner)
    except Exception as error:
        return pack_error(error)


def deliver(session_id: str, learner: int, part: MergedPart, frames: Sequence[Frame] | None = None) -> None:
    """Bring a merged part to a learner that is at work; frames may come beside it, as in `work`."""
    if frames is not None:
        part = replace(part, frames=tuple(frames))
    _inbox.put(session_id, learner, part)


def forget() -> None:
    """Drop every learner and task: the session is over, and the worker may have other work to do."""
    _tasks.clear()
    _learners.clear()
    _inbox.begin(None)


def _run_alone(round_of_work: RoundOfWork, session_id: str, learner: int) -> LearnerUpdate:
    return drive(
        round_of_work,
        average=lambda tensors: None,
        await_part=lambda round_: _inbox.take(session_id, learner, round_),
    )


def _learner_of(session: Session, learner: int) -> Learner:
    """The learner kept in memory, or a new one; a new session forgets those of the one before."""
    if session.session_id not in _tasks:
        forget()
        _inbox.begin(session.session_id)
        _tasks[session.session_id] = session.task.load()
    key = (session.session_id, learner)
    if key not in _learners:
        task = _tasks[session.session_id]
        _learners[key] = Learner(session, task, learner, lends=session.lends_memory)
    return _learners[key]
