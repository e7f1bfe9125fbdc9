import socket
import threading
from typing import Any

import pytest
import torch

from ayni.train.round_of_work import AverageTensors
from ayni.train.sync import Gang, MeetingPlace, host_store, run_alone, run_together


def work(tensors: list[torch.Tensor], result: object) -> Any:
    yield AverageTensors(tensors)
    return result


def test_learners_in_lock_step_all_get_the_mean() -> None:
    ones, threes = [torch.ones(2), torch.ones(())], [3 * torch.ones(2), torch.zeros(())]

    results = run_together([work(ones, "a"), work(threes, "b")])

    assert results == ["a", "b"]
    assert ones[0].tolist() == threes[0].tolist() == [2.0, 2.0]
    assert ones[1].item() == threes[1].item() == 0.5


def test_alone_the_mean_is_the_value_itself() -> None:
    own = [torch.tensor([5.0])]

    assert run_alone(work(own, "done")) == "done"
    assert own[0].item() == 5.0


def test_ranks_meet_over_gloo_and_average() -> None:
    store = host_store()
    tensors = [[torch.full((3,), float(rank)), torch.full((1,), 10.0 * rank)] for rank in range(3)]

    def rank_work(rank: int) -> None:
        place = MeetingPlace(host="127.0.0.1", port=store.port, prefix="t/1/1", rank=rank, num_ranks=3)
        Gang(place).average(tensors[rank])

    threads = [threading.Thread(target=rank_work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [own[0].tolist() for own in tensors] == [[1.0, 1.0, 1.0]] * 3
    assert [own[1].item() for own in tensors] == [10.0] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gang_on_gpus_averages_without_leaving_them() -> None:
    store = host_store()
    place = MeetingPlace(
        host="127.0.0.1", port=store.port, prefix="g/1/1", rank=0, num_ranks=1, backend="nccl"
    )
    own = [torch.full((3,), 2.0, device="cuda")]

    Gang(place).average(own)

    assert own[0].device.type == "cuda"
    assert own[0].tolist() == [2.0, 2.0, 2.0]


def test_the_store_can_be_reached_from_other_machines() -> None:
    store = host_store()

    with socket.create_connection((own_address(), store.port), timeout=10) as connection:
        assert connection.getpeername()[1] == store.port


def own_address() -> str:
    """An address of this machine that is not the loopback one, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
