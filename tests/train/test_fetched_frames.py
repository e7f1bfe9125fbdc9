import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train import fetched_frames
from ayni.train.engine import Frame
from ayni.train.fetched_frames import (
    FetchedFrames,
    UpdateGoneError,
    forget_aside,
    set_aside,
    take_aside,
)

NAME = ("session", 1, 4, 2)


def frames_of(*sizes: int) -> list[Frame]:
    return [np.full(size, number, np.uint8) for number, size in enumerate(sizes)]


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12), piece_bytes=st.integers(1, 60))
def test_every_frame_arrives_once_and_pieces_stay_small(sizes: list[int], piece_bytes: int) -> None:
    frames = frames_of(*sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetched_frames, "PIECE_BYTES", piece_bytes)
        aside = set_aside(NAME, frames)
        pieces: list[list[Frame]] = []

        def fetch(start: int, stop: int) -> list[Frame]:
            pieces.append(take_aside(aside.name, start, stop))
            return pieces[-1]

        fetched = FetchedFrames(aside.sizes, fetch)
        assert (len(fetched), fetched.nbytes) == (len(sizes), sum(sizes))
        np.testing.assert_equal(list(fetched), frames)

    assert sum(map(len, pieces)) == len(sizes)
    assert all(len(piece) == 1 or sum(map(len, piece)) <= piece_bytes for piece in pieces)
    with pytest.raises(UpdateGoneError):
        take_aside(NAME, 0, 1)


def test_only_the_last_update_of_a_learner_is_there() -> None:
    set_aside(NAME, frames_of(3))
    other = set_aside(("session", 1, 5, 1), frames_of(4))

    with pytest.raises(UpdateGoneError, match=r"learner 1 in round 4 \(attempt 2\)"):
        take_aside(NAME, 0, 1)
    assert len(take_aside(other.name, 0, 1)[0]) == 4


def test_nothing_is_there_after_the_training() -> None:
    set_aside(NAME, frames_of(3, 3))
    forget_aside()

    with pytest.raises(UpdateGoneError):
        take_aside(NAME, 0, 1)
