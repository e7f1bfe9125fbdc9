"""YAML with lines: scalars of YAML 1.2, bounded size, and messages that point at the mistake."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.jobs.document import Document, JobFileError, parse_document, parse_value, read_document


def message(text: str) -> str:
    with pytest.raises(JobFileError) as caught:
        parse_document(text, name="job.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("5.", 5.0),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("true", True),
        ("~", None),
        ("", None),
        ("2026-01-01", "2026-01-01"),
        ("'5'", "5"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse_value(text, name="value") == value
    assert type(parse_value(text, name="value")) is type(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_json_is_read_as_the_same_values(value: Any) -> None:
    read = parse_value(json.dumps(value), name="value")

    assert read == value or (isinstance(value, float) and math.isclose(read, value))


def test_each_key_knows_its_line() -> None:
    document = parse_document(
        "name: a\ntrain:\n  rounds: 3\ncompress:\n  steps:\n  - prune: {}\n", name="job.yaml"
    )

    assert document.place(("train", "rounds")) == "line 3"
    assert document.place(("compress", "steps", 0, "prune")) == "line 6"


def test_a_key_that_is_absent_has_the_line_of_its_section() -> None:
    document = parse_document("name: a\ntrain:\n  rounds: 3\n", name="job.yaml")

    assert document.place(("train", "seed")) == "line 2"
    assert document.place(("task",)) == ""


def test_a_section_that_a_set_made_is_where_the_set_is() -> None:
    document = Document(
        name="job.yaml",
        values={"train": {"streming": {"fragments": 3}}},
        places={("train",): "line 5", ("train", "streming", "fragments"): "--set train.streming.fragments=3"},
    )

    assert document.place(("train", "streming")) == "--set train.streming.fragments=3"
    assert document.place(("train", "rounds")) == "line 5"


def test_an_alias_is_read_where_it_is_small() -> None:
    document = parse_document("a: &x [1, 2]\nb: *x\n", name="job.yaml")

    assert document.values == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    names = "abcdefghi"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise(names)
    )

    assert "more than 10,000 values, aliases (*name) expanded" in message(bomb)


def test_an_alias_to_itself_is_refused() -> None:
    assert message("a: &x [*x, *x]\n") == "job.yaml is nested deeper than 50 levels. Is it the right file?"


def test_brackets_without_end_are_refused_without_a_crash() -> None:
    assert "nested deeper than 50 levels" in message("a: " + "[" * 1_000)


def test_a_python_tag_is_refused_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"

    text = message(f"seed: !!python/object/apply:os.mkdir ['{witness}']\n")

    expected = (
        "job.yaml, line 1: the tag !!python/object/apply:os.mkdir is not read: a job holds plain values only."
    )
    assert text == expected
    assert not witness.exists()


GOLDEN = {
    "name: d\ntrain: {rounds: 3\nseed: 1\n": (
        "job.yaml, line 3: not YAML: expected ',' or '}', but got ':' while parsing a flow mapping "
        "(opened in line 2). The line reads 'seed: 1'."
    ),
    "train:\n\trounds: 3\n": (
        "job.yaml, line 2: this line is indented with a tab. YAML wants spaces: two for each level."
    ),
    "name: a: b\n": (
        "job.yaml, line 1: mapping values are not allowed here, in 'name: a: b'. "
        "A colon too many, or wrong indentation. Quote texts with a colon."
    ),
    "name: 'a\nseed: 1\n": (
        'job.yaml, line 1: a quote or bracket that is opened here is never closed: "name: \'a".'
    ),
    "seed: 1\ntrain: [3\n": (
        "job.yaml, line 2: a quote or bracket that is opened here is never closed: 'train: [3'."
    ),
    "seed: 1\nname: d\nseed: 2\n": "job.yaml, line 3: the key `seed` was already given in line 1. Keep one.",
    "train:\n  rounds: 1\n  rounds: 2\n": (
        "job.yaml, line 3: the key `train.rounds` was already given in line 2. Keep one."
    ),
    "": "job.yaml is empty. Write a new one with `ayni init`.",
    "# only a comment\n": "job.yaml is empty. Write a new one with `ayni init`.",
    "- a\n- b\n": (
        "job.yaml, line 1: a job is a mapping of keys, found a list of 2. Write a new one with `ayni init`."
    ),
    "hello\n": (
        "job.yaml, line 1: a job is a mapping of keys, found the text 'hello'. "
        "Write a new one with `ayni init`."
    ),
    "seed: !mine 3\n": "job.yaml, line 1: the tag !mine is not read: a job holds plain values only.",
    "train:\n  <<: {rounds: 2}\n": "job.yaml, line 2: merge keys (<<) are not read. Write the keys out.",
    "name: a\n---\nname: b\n": "job.yaml, line 2: a second document begins here (---). A job file holds one.",
    "limits: {credits: .nan}\n": "job.yaml, line 1: .nan is not a finite number.",
    "limits: {credits: 1e999}\n": "job.yaml, line 1: 1e999 is not a finite number.",
    "name: *x\n": (
        "job.yaml, line 1: found undefined alias 'x', in 'name: *x'. "
        "No anchor (&name) of that name comes before. Quote texts that begin with *."
    ),
    "name: @x\n": (
        "job.yaml, line 1: found character '@' that cannot start any token, in 'name: @x'. "
        "Quote texts that begin with it."
    ),
    "5: x\n": "job.yaml, line 1: a key is a text, found 5.",
    "? [a]\n: x\n": "job.yaml, line 1: a key is a text, found a structure.",
    "name: d\nseed: \x07\n": (
        "job.yaml, line 2: a control character, '\\x07', is here. Is it the right file?"
    ),
}


@pytest.mark.parametrize("text", GOLDEN)
def test_a_bad_text_is_explained(text: str) -> None:
    assert message(text) == GOLDEN[text]


@given(st.text(max_size=80))
def test_any_text_is_a_document_or_an_explained_error(text: str) -> None:
    try:
        parse_document(text, name="job.yaml")
    except JobFileError as error:
        assert str(error).startswith("job.yaml")


def file_message(path: Path) -> str:
    with pytest.raises(JobFileError) as caught:
        read_document(path)
    return str(caught.value)


def test_an_absent_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").touch()

    text = file_message(tmp_path / "jobb.yaml")

    assert text == f"{tmp_path / 'jobb.yaml'} does not exist. In that folder there is: job.yaml."


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "job.yaml"

    assert file_message(path) == f"{path} does not exist. There is no folder {path.parent} either."


def test_a_folder_points_to_the_job_in_it(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").touch()

    text = file_message(tmp_path)

    assert text == f"{tmp_path} is a folder, not a job file. Its job is {tmp_path / 'job.yaml'}."


def test_a_file_of_ten_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"a: b\n" * 2_000_000)

    expected = f"{path} has 10,000,000 bytes, a job file has at most 262,144. Is it the right file?"
    assert file_message(path) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"name: d\n\x80\x81", "line 2: this is not text in UTF-8 (byte 0x80). Is it the right file?"),
        (b"name: \xe9\n", "line 1: this is not text in UTF-8 (byte 0xe9)."),
        (b"a: \x00\n", "line 1: a control character, '\\x00', is here. Is it the right file?"),
    ],
)
def test_a_binary_file_is_recognised(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)

    assert text in file_message(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: d\n")

    assert read_document(path).values == {"name": "d"}
