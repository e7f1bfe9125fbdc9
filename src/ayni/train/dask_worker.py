"""What runs inside the processes of Dask workers: the engine's questions, and worker.py with paths of here.

Functions are sent by name, so that a worker needs Ayni itself and nothing of the coordinator's memory.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import distributed
from distributed.comm.addressing import get_address_host

from ayni.train.engine import Frame, LearnerUpdate, MergedPart, Order, Session
from ayni.train.fetched_frames import (
    PIECE_BYTES,
    LargeUpdate,
    UpdateGoneError,
    UpdateName,
    forget_aside,
    set_aside,
    take_aside,
)
from ayni.train.lent_frames import LentFrames, total_bytes
from ayni.train.packed_error import PackedError, pack_error
from ayni.train.task_files import (
    InitialFile,
    TaskFiles,
    initial_file_here,
    remove_old,
    session_here,
    take_piece,
)

if TYPE_CHECKING:
    from ayni.train.sync import MeetingPlace

_stores: list[Any] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where the ranks of a gang meet: the store of the first member's worker, and this rank's own address."""

    store_host: str
    own_host: str
    prefix: str
    rank: int
    num_ranks: int
    backend: Literal["gloo", "nccl"]


def describe(dask_worker: Any) -> dict[str, Any]:
    """Facts of this process that Dask's scheduler does not hand out; Dask passes its worker object."""
    return {
        "name": str(dask_worker.name),
        # As others see it, so that workers behind one address count as one machine.
        "host": get_address_host(dask_worker.contact_address),
        "process_id": os.getpid(),
        "num_threads": dask_worker.state.nthreads,
        "has_nanny": dask_worker.nanny is not None,
    }


def warm_up() -> None:
    """Have torch imported before there is work."""
    # Not at the top: a worker is asked who it is before it has spent a second on importing torch.
    remove_old(_own_folder())
    _use_all_threads()


def lacks_initial_file(initial: InitialFile) -> bool:
    """Whether the file of the first weights must be brought here."""
    return initial_file_here(initial, _own_folder()) is None


def take_initial_piece(initial: InitialFile, offset: int, piece: bytes) -> None:
    """Write one piece of it."""
    take_piece(initial, _own_folder(), offset, piece)


def prepare(session: Session, files: TaskFiles | None, learner: int) -> PackedError | None:
    """Build a learner ahead of its first round; `files` are None where this machine is the coordinator's."""
    from ayni.train import worker

    _use_all_threads()
    try:
        return worker.prepare(_localized(session, files), learner)
    except Exception as error:
        return pack_error(error)


def work(
    session: Session,
    files: TaskFiles | None,
    order: Order,
    meeting: Meeting | None,
    port: int | None,
    *pieces: Sequence[Frame],
) -> LearnerUpdate | LargeUpdate | PackedError:
    """Work on an attempt; the frames of its model come apart from the order, as data that Dask carries."""
    from ayni.train import worker

    _use_all_threads()
    frames = [frame for piece in pieces for frame in piece]
    for frame in frames:
        # Dask hands the same object to whoever asks again: writing into it would change it for them.
        frame.flags.writeable = False
    try:
        place = _place(meeting, port)
        answer = worker.work(_localized(session, files), order, place, frames)
        return answer if isinstance(answer, PackedError) else _without_many_bytes(session, answer)
    except Exception as error:
        return pack_error(error)


def take_update_piece(name: UpdateName, start: int, stop: int) -> list[Frame] | PackedError:
    """Some frames of an update that was too large to be sent at once."""
    try:
        return take_aside(name, start, stop)
    except UpdateGoneError as error:
        return pack_error(error)


def _without_many_bytes(session: Session, update: LearnerUpdate) -> LearnerUpdate | LargeUpdate:
    if isinstance(update.frames, LentFrames) or total_bytes(update.frames) <= PIECE_BYTES:
        return update
    name = (session.session_id, update.learner, update.round, update.attempt)
    return LargeUpdate(update=replace(update, frames=()), aside=set_aside(name, update.frames))


def deliver(session_id: str, learner: int, part: MergedPart, keys: Sequence[str], dask_worker: Any) -> None:
    """Give a merged part to the attempt that runs in another thread; its frames are Dask's data `keys`."""
    from ayni.train import worker

    frames = [frame for key in keys for frame in dask_worker.data[key]]
    worker.deliver(session_id, learner, part, frames)


def open_store() -> int:
    """Host the store where gangs meet, one for the life of this process; returns its port."""
    if not _stores:
        from ayni.train.sync import host_store

        _stores.append(host_store())
    port: int = _stores[0].port
    return port


def forget() -> None:
    """Free what learners keep in memory: the training is over, and the worker is not ours."""
    from ayni.train import worker

    worker.forget()
    forget_aside()


def _localized(session: Session, files: TaskFiles | None) -> Session:
    return session if files is None else session_here(session, files, _own_folder())


def _own_folder() -> Path:
    """A folder that outlives this process: Dask deletes the worker's own one and keeps the one above."""
    return Path(distributed.get_worker().local_directory).parent / "ayni"


def _use_all_threads() -> None:
    """As many threads for torch as Dask gave this worker; a nanny would leave it with one."""
    from ayni.train import worker

    worker.warm_up(distributed.get_worker().state.nthreads)


def _place(meeting: Meeting | None, port: int | None) -> "MeetingPlace | None":
    if meeting is None or port is None:
        return None
    from ayni.train.sync import MeetingPlace

    return MeetingPlace(
        host=meeting.store_host,
        port=port,
        prefix=meeting.prefix,
        rank=meeting.rank,
        num_ranks=meeting.num_ranks,
        own_host=meeting.own_host,
        backend=meeting.backend,
    )
