import pytest

pytest.importorskip("blake3")

from hypothesis import given
from hypothesis import strategies as st
from tests.hub.xet.xet_files import (
    RAMP_LENGTHS,
    STREAM_LENGTHS,
    ZEROS_LENGTHS,
    cut,
    hash_chunks,
    ramp,
    stream,
)

from ayni.hub.xet import hashes
from ayni.hub.xet.hashes import HashTextError, HashTree, chunk_hash, file_hash, from_text, term_hash, to_text

# Leaves and nodes of the public reference: chunk hashes of the decimal numbers 0 to 19.
LEAVES = [(chunk_hash(str(number).encode()), 100 * (number + 1)) for number in range(20)]


def root(leaves: list[tuple[bytes, int]]) -> bytes:
    tree = HashTree()
    for leaf, num_bytes in leaves:
        tree.add(leaf, num_bytes)
    return tree.root()


def level_by_level(level: list[tuple[bytes, int]]) -> bytes:
    """The tree as the specification tells it, with each level in memory: the oracle."""
    while len(level) > 1:
        above, rest = [], level
        while rest:
            size = next(
                (
                    number + 1
                    for number in range(2, min(9, len(rest)))
                    if int.from_bytes(rest[number][0][24:], "little") % 4 == 0
                ),
                min(9, len(rest)),
            )
            group, rest = rest[:size], rest[size:]
            lines = b"".join(b"%s : %d\n" % (to_text(raw).encode(), length) for raw, length in group)
            above.append((hashes.keyed(hashes._NODE_KEY, lines), sum(length for _, length in group)))
        level = above
    return level[0][0] if level else bytes(32)


def test_text_writes_each_group_of_eight_bytes_backwards() -> None:
    text = "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"

    assert to_text(bytes(range(32))) == text
    assert from_text(text) == bytes(range(32))


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "0" * 63 + "A", "0" * 62 + "%30", "0" * 64 + "\n"])
def test_text_that_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(HashTextError):
        from_text(text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "e0f2cf784e7e5f10c34f84af150e9a5ff9664216debad915364d741049870f67"),
        (b"hello", "9076ba12d998050b9c95c8bf770f943e6cad55c7490a82b76cf1582a2a05c2c2"),
        (bytes(65536), "949007ab06e71557f3426c039da9706141a00dcd6b9e2e840a380bea4657158e"),
        (bytes(131072), "2e39f13c248013b27e22913ba2893a654120ed0ad8eb7ecbf3f05b9d708634fc"),
        (b"196", "54f0982970493ea3dacbd8cd6101491fd333e5361d9dc2a5bc15e11030b3b000"),
    ],
)
def test_chunks_have_the_hashes_that_hf_xet_sends(content: bytes, text: str) -> None:
    assert to_text(chunk_hash(content)) == text


@pytest.mark.parametrize(
    ("chunks", "xorb", "file", "term"),
    [
        (
            [b"hello"],
            "9076ba12d998050b9c95c8bf770f943e6cad55c7490a82b76cf1582a2a05c2c2",
            "48a3213a086cad271381aafe47232eb5df291a963cebbfec071972eff45eb422",
            "7f1d7649f056d46a01791d0ceed7687abcda42e6e88916d3cdda4b2c9d9a7ccf",
        ),
        (
            cut(bytes(200000), ZEROS_LENGTHS),
            "aecf4fdd5e8dba6b31d83158642b4f8ec9aad4bfe260e01e12d8a027345053d3",
            "753801ebbdc0e156435374c2b13d99a1dc2fa0427cbce41bbf6cd2e2692b9727",
            "d49c8a39ab5eab3ac2fcc37e48ac77246cb5c02de1606bad147274bad1da917d",
        ),
        (
            cut(ramp(), RAMP_LENGTHS),
            "155b3e786ec59da07295947a8872ceb2d66dfce3f314adacdf0835375bb33042",
            "06831d26705679956792220f7856735eb1137241e3302aa477e7f2a705ca6d46",
            "ef399a42f72e78039e020b232ca89df7331590bdc0e8765b50532f55b4b6af06",
        ),
        (
            cut(stream()[:1048576], STREAM_LENGTHS),
            "9146554a0616aed79b2d6450fc676d4e3432bad6779d1d0c8a34169f93c8f922",
            "1ca7c96a652a51995a36ea16982c4deb52e6ad557bad5b017f0a73a67ea2f109",
            "1d11b93d99d2ad989a6d7ec58ea007cbb8081c2efb9c2efeac76853f3daaee86",
        ),
    ],
    ids=["hello", "zeros", "ramp", "stream"],
)
def test_files_have_the_hashes_that_hf_xet_sends(
    chunks: list[bytes], xorb: str, file: str, term: str
) -> None:
    leaves = hash_chunks(chunks)

    assert to_text(root(leaves)) == xorb
    assert to_text(file_hash(root(leaves))) == file
    assert to_text(term_hash(b"".join(leaf for leaf, _ in leaves))) == term


def test_the_tree_of_twenty_leaves_is_that_of_the_reference() -> None:
    found = root(LEAVES)

    assert to_text(found) == "34a30e193fecd1281c507acd73802424cc2e50bf08ccfb26270a6c51be64ccc9"
    assert to_text(file_hash(found)) == "3f07c0d36512d07536e4979784fe223312e84bc73b589931c67f161fdae922c4"
    part = b"".join(leaf for leaf, _ in LEAVES[3:7])
    assert to_text(term_hash(part)) == "e8fa9307081c91df1de3ad6df4c9867b62db368827bf3d76fd968abc736cde19"


def test_two_leaves_have_one_node_over_them() -> None:
    assert to_text(root(LEAVES[:2])) == "77cced1eb3a65d69e74ba802ca82f37df44d68eab573616baf8fda828cfa7516"


def test_one_leaf_is_its_own_root_and_no_leaf_has_the_root_zero() -> None:
    assert root(LEAVES[:1]) == LEAVES[0][0]
    assert root([]) == bytes(32) == file_hash(root([]))


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 131072)), max_size=200))
def test_a_tree_made_leaf_by_leaf_is_the_one_made_level_by_level(leaves: list[tuple[bytes, int]]) -> None:
    assert root(leaves) == level_by_level(leaves)


@pytest.mark.parametrize("num_leaves", [9, 10, 81, 82, 1000])
def test_groups_that_no_hash_ends_have_nine_entries(num_leaves: int) -> None:
    never_ends = [(b"\xff" * 32, 1)] * num_leaves

    assert root(never_ends) == level_by_level(never_ends)


def test_a_chunk_is_eligible_when_its_last_eight_bytes_are_divisible_by_1024() -> None:
    assert hashes.is_eligible(chunk_hash(b"196"))
    assert not any(hashes.is_eligible(chunk_hash(str(number).encode())) for number in range(196))
