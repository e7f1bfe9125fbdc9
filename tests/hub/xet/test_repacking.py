"""What is packed again unpacks to the same chunks, and is never longer."""

import random

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import lz4.frame as lz4_frame
from tests.hub.xet.xet_files import make_xorb

from ayni.hub.xet.repacking import packed_tighter
from ayni.hub.xet.xorbs import GROUPED_LZ4, LZ4, NO_COMPRESSION, XorbReader

# Lengths of every rest modulo four, of letters that a longer search finds more of.
CHUNKS = [bytes(random.Random(rest).choices(b"abcdefgh", k=30_000 + rest)) for rest in range(4)]


@pytest.mark.parametrize("scheme", [NO_COMPRESSION, LZ4, GROUPED_LZ4])
def test_the_same_chunks_come_out_in_no_more_bytes(scheme: int) -> None:
    before = make_xorb([*CHUNKS, random.Random(0).randbytes(50_000), b"x"], scheme)

    records, index = packed_tighter(before.body, before.index)

    reader = XorbReader()
    reader.feed(records)
    assert reader.finish() == index
    assert index.xorb_hash == before.name
    assert index.unpacked_ends == before.index.unpacked_ends
    assert len(records) <= len(before.body)


def test_weights_in_bfloat16_lose_a_twentieth_of_their_bytes() -> None:
    torch = pytest.importorskip("torch")
    values = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    content = values.view(torch.uint8).numpy().tobytes()
    before = make_xorb(
        [content[start : start + 65_536] for start in range(0, len(content), 65_536)], GROUPED_LZ4
    )

    records, _ = packed_tighter(before.body, before.index)

    assert len(records) < 0.95 * len(before.body)


def test_what_is_packed_again_is_one_standard_frame_for_each_chunk() -> None:
    before = make_xorb(CHUNKS, LZ4)

    records, index = packed_tighter(before.body, before.index)

    frames = [records[index.record_start(number) + 8 : end] for number, end in enumerate(index.record_ends)]
    assert [lz4_frame.decompress(each) for each in frames] == CHUNKS
