import pytest
import torch

from ayni.train.engine import LearnerUpdate, MergedPart
from ayni.train.round_of_work import AverageTensors, AwaitPart, RoundOfWork, drive

UPDATE = LearnerUpdate(
    round=2,
    learner=0,
    attempt=1,
    frames=(),
    digest="",
    start=0,
    num_samples=8,
    loss=1.0,
    compute_seconds=1.0,
    exchanged_bytes=0,
    optimizer_state="new",
)


def part(round_: int) -> MergedPart:
    return MergedPart(round=round_, version=round_, kind="full", frames=())


def double(tensors: list[torch.Tensor]) -> None:
    for tensor in tensors:
        tensor.mul_(2)


def never(_: object) -> MergedPart:
    raise AssertionError("nobody asked for it")


def test_a_round_that_asks_for_nothing_gives_its_update() -> None:
    def work() -> RoundOfWork:
        return UPDATE
        yield

    assert drive(work(), average=never, await_part=never) is UPDATE


def test_tensors_are_averaged_in_place_before_the_work_goes_on() -> None:
    tensor, seen = torch.tensor([1.0, 3.0]), []

    def work() -> RoundOfWork:
        for _ in range(2):
            answer = yield AverageTensors([tensor])
            seen.append((answer, tensor.tolist()))
        return UPDATE

    update = drive(work(), average=double, await_part=never)

    assert update is UPDATE
    assert seen == [(None, [2.0, 6.0]), (None, [4.0, 12.0])]


def test_the_part_of_the_named_round_is_the_answer() -> None:
    answers: list[MergedPart | None] = []

    def work() -> RoundOfWork:
        answers.append((yield AwaitPart(7)))
        return UPDATE

    drive(work(), average=never, await_part=part)

    assert answers == [part(7)]


def test_a_part_is_no_answer_to_the_request_after_it() -> None:
    answers: list[MergedPart | None] = []

    def work() -> RoundOfWork:
        answers.append((yield AwaitPart(7)))
        answers.append((yield AverageTensors([])))
        return UPDATE

    drive(work(), average=double, await_part=part)

    assert answers == [part(7), None]


def test_an_error_of_the_work_reaches_the_caller() -> None:
    def work() -> RoundOfWork:
        yield AverageTensors([])
        raise FloatingPointError("loss is NaN")

    with pytest.raises(FloatingPointError, match="loss is NaN"):
        drive(work(), average=double, await_part=never)


def test_an_answer_that_never_comes_ends_the_round_and_leaves_the_work_where_it_was() -> None:
    def stopped(_: int) -> MergedPart:
        raise ConnectionError("the session ended")

    ended: list[str] = []

    def work() -> RoundOfWork:
        try:
            yield AwaitPart(7)
        finally:
            ended.append("closed")
        return UPDATE

    round_ = work()
    with pytest.raises(ConnectionError, match="the session ended"):
        drive(round_, average=never, await_part=stopped)

    assert ended == []
    round_.close()
    assert ended == ["closed"]
