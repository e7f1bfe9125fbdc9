import builtins
import collections
import datetime
import io
import os
import pickle
import pickletools
import pydoc
import runpy
import timeit
from typing import Any

import pytest

from ayni.hub.pickles import (
    ALLOWED_IMPORTS,
    MAX_ARGUMENT_BYTES,
    is_pickle,
    judge_import,
    may_begin_pickle,
    read_pickles,
    worst,
)
from ayni.hub.ranged_file import BLOCK_BYTES, RangedFile


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def looks_like_pickle(content: bytes) -> bool:
    return may_begin_pickle(content[:1]) and is_pickle(content[:2], read(content))


def read(content: bytes) -> Any:
    return read_pickles(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function", [os.system, builtins.eval, builtins.getattr, runpy.run_path, timeit.timeit, pydoc.pipepager]
)
def test_a_call_of_what_runs_commands_or_code_is_dangerous(function: Any, protocol: int) -> None:
    reading = read(pickle.dumps([1, Calls(function, "x"), "after"], protocol))

    assert reading.verdict == "dangerous"
    assert reading.findings[0].what.endswith(f".{function.__name__}")
    assert reading.calls


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_collections_are_safe(protocol: int) -> None:
    value = {
        "a": [1, 2.5, None, True, b"bytes", 3 + 4j, {1, 2}],
        "b": collections.OrderedDict(x=1),
        "c": datetime.date(2026, 1, 2),
    }

    reading = read(pickle.dumps(value, protocol))

    assert (reading.verdict, reading.problem, reading.num_pickles) == ("safe", "", 1)


def test_arrays_of_numpy_are_safe() -> None:
    np = pytest.importorskip("numpy")
    value = {"w": np.arange(6.0).reshape(2, 3), "s": np.float32(2), "o": np.array(["a", None], dtype=object)}

    for protocol in range(6):
        assert read(pickle.dumps(value, protocol)).verdict == "safe"


def test_a_class_that_nobody_knows_is_unlisted() -> None:
    reading = read(pickle.dumps(collections.ChainMap({}), 4))

    assert reading.verdict == "unlisted"
    assert [each.what for each in reading.findings] == ["collections.ChainMap"]


def test_a_name_that_comes_out_of_the_memo_is_seen() -> None:
    # "system" and "os" are put into the memo, thrown away, fetched in the other order, and imported.
    content = b"\x80\x04\x8c\x06system\x940\x8c\x02os\x940h\x01h\x00\x93\x8c\x02id\x85R."

    reading = read(content)

    assert [each.what for each in reading.findings] == ["os.system"]


def test_a_name_that_only_the_running_program_knows_is_dangerous() -> None:
    # The module's name is what a call returns.
    content = b"\x80\x04cbuiltins\nstr\n\x8c\x02os\x85R\x8c\x06system\x93\x8c\x02id\x85R."

    assert ("?", "system") in read(content).imports
    assert read(content).verdict == "dangerous"


def test_what_runs_before_an_unreadable_byte_counts() -> None:
    content = pickle.dumps(Calls(os.system, "id"), 2).removesuffix(b".") + b"\xff\xff"

    reading = read(content)

    assert [each.verdict for each in reading.findings] == ["dangerous", "unreadable"]


def test_a_cut_pickle_of_allowed_things_is_unreadable() -> None:
    assert read(pickle.dumps(list(range(50)), 4)[:-3]).verdict == "unreadable"


def test_a_second_pickle_behind_a_harmless_one_is_read() -> None:
    content = pickle.dumps(1, 2) + pickle.dumps("x", 2) + pickle.dumps(Calls(os.system, "id"), 2)

    reading = read(content)

    assert (reading.verdict, reading.num_pickles) == ("dangerous", 3)


def test_raw_numbers_behind_pickles_are_data() -> None:
    reading = read(pickle.dumps({"a": 1}, 2) + bytes(range(10)) * 10)

    assert (reading.verdict, reading.num_pickles) == ("safe", 1)


def test_an_extension_code_is_dangerous() -> None:
    assert read(b"\x80\x02\x82\x05.").verdict == "dangerous"


def test_a_long_argument_is_passed_over_and_what_follows_is_read() -> None:
    long = b"x" * (3 * MAX_ARGUMENT_BYTES + 7)

    reading = read(pickle.dumps([long, Calls(os.system, "id")], 4))

    assert [each.what.split(".")[1] for each in reading.findings] == ["system"]
    assert reading.num_pickles == 1


def test_long_arguments_of_stored_content_are_not_even_fetched() -> None:
    fetched: list[int] = []
    content = pickle.dumps([b"x" * (40 * BLOCK_BYTES), Calls(os.system, "id")], 4)

    def read_range(start: int, stop: int) -> bytes:
        fetched.append(start)
        return content[start:stop]

    reading = read_pickles(RangedFile(read_range, size_bytes=len(content)))

    assert reading.verdict == "dangerous"
    assert len(fetched) <= 3


def test_a_text_pickle_hides_behind_no_padding() -> None:
    assert looks_like_pickle(b"(" + b"I1\n" * 10_000 + b"1cos\nsystem\n(S'id'\ntR.")


def test_an_argument_that_claims_more_bytes_than_there_are_is_unreadable() -> None:
    reading = read(b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b"abc")

    assert reading.verdict == "unreadable"


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'id'\ntR.",
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"cos\nsystem\n(S'id'\ntRQQ",
    ],
)
def test_a_pickle_of_text_is_known_by_what_it_does(content: bytes) -> None:
    assert looks_like_pickle(content)
    assert read(content).verdict == "dangerous"


@pytest.mark.parametrize(
    "text",
    [
        b"copyright 2026\nAda Lovelace\nAll rights reserved.\n",
        b"import os\nos.system('id')\n",
        b'{"a": 1}',
        b"# Title\n\ncollections\nOrderedDict\n",
        b"I am a text.\nNothing else.",
        b"",
        b"N.",
        b"This is a text.",
        b"I1\n.",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_prose_and_pictures_are_no_pickles(text: bytes) -> None:
    assert not looks_like_pickle(text)


def test_every_protocol_is_known_by_its_start() -> None:
    for protocol in range(2, 6):
        assert looks_like_pickle(pickle.dumps({"a": 1}, protocol))


def test_no_allowed_import_is_also_dangerous_and_a_dotted_name_is_never_allowed() -> None:
    assert all("." not in name for _module, name in ALLOWED_IMPORTS)
    assert judge_import("collections", "OrderedDict.__init__.__globals__") == "dangerous"
    assert judge_import("torch.storage", "_load_from_bytes") == "dangerous"


def test_imports_agree_with_what_the_unpickler_asks_for() -> None:
    """Oracle: the names that Python's own unpickler looks up."""
    asked: list[tuple[str, str]] = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.append((module, name))
            return super().find_class(module, name)

    value = [collections.OrderedDict(a=1), datetime.timedelta(3), {1, 2}, collections.Counter("ab"), 2j]
    for protocol in range(6):
        for content in (pickle.dumps(value, protocol), pickletools.optimize(pickle.dumps(value, protocol))):
            asked.clear()
            # Names of Python 2 are what the file says; the unpickler asks for the same ones.
            Unpickler(io.BytesIO(content), fix_imports=False).load() if protocol >= 3 else None

            if protocol >= 3:
                assert set(read(content).imports) == set(asked)


def test_the_worst_verdict_of_some() -> None:
    assert worst() == "none"
    assert worst("safe", "unlisted", "none") == "unlisted"
    assert worst("dangerous", "unreadable") == "dangerous"
