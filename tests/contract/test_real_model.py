"""Transformers and Datasets load a real model and real rows from the hub as from the Hugging Face Hub."""

from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from benchmarks.hub_real_model import load_and_push
from benchmarks.peer_runs import PeerFailedError


@pytest.mark.slow
@pytest.mark.parametrize("offers_xet_reads", [False, True], ids=["plain", "by-chunks"])
def test_a_model_and_data_sets_come_back_bit_for_bit(tmp_path: Path, offers_xet_reads: bool) -> None:
    try:
        found = load_and_push(tmp_path, offers_xet_reads=offers_xet_reads)
    except PeerFailedError as error:
        if "pip" in str(error).split(" ended with ")[0]:
            pytest.skip(str(error))
        raise

    assert not found["failed"], "\n".join(found["failed"].values())
    assert found["checks"] == 8
