"""What our own list lets pass is shown to another scanner; a file that breaks it is not taken for safe."""

import pickle

import pytest
from tests.hub.test_content_scan import scan, zipped

from ayni.hub import picklescan_scanner
from ayni.hub.picklescan_scanner import second_opinion
from ayni.hub.ranged_file import RangedFile

pytest.importorskip("picklescan")


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def ranged(content: bytes) -> RangedFile:
    return RangedFile(lambda start, stop: content[start:stop], size_bytes=len(content))


def test_what_it_finds_is_dangerous() -> None:
    (found,) = second_opinion(ranged(pickle.dumps(Runs())), is_zip=False)

    assert found.verdict == "dangerous" and found.what.endswith(".system")


def test_what_breaks_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from picklescan import scanner

    def breaks(*_: object) -> None:
        raise IndexError("pop from an empty list")

    monkeypatch.setattr(scanner, "scan_pickle_bytes", breaks)

    (found,) = second_opinion(ranged(pickle.dumps([])), is_zip=False)

    assert found.verdict == "unlisted" and "picklescan" in found.what


def test_it_looks_into_zip_files_and_takes_none_that_cannot_be_opened() -> None:
    packed = zipped({"archive/data.pkl": pickle.dumps(Runs()), "archive/data/0": b"weights"})

    (found,) = second_opinion(ranged(packed), is_zip=True)

    assert (found.verdict, found.inside) == ("dangerous", "archive/data.pkl")
    assert second_opinion(ranged(b"PK\x03\x04 no zip file"), is_zip=True) == ()


def test_it_makes_no_file_better_and_harmless_ones_no_worse() -> None:
    assert scan(pickle.dumps(Runs()), "a.pkl").verdict == "dangerous"
    assert scan(pickle.dumps({"a": [1, 2]}), "a.pkl").verdict == "safe"


def test_large_files_are_left_to_our_own_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picklescan_scanner, "MAX_BYTES", 10)

    assert second_opinion(ranged(pickle.dumps(Runs())), is_zip=False) == ()
