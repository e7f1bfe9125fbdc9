from pathlib import Path

import pytest

from ayni.footprint.receipts.known_keys import HOME, BadPublicKeyError, known_keys
from ayni.signing import load_or_create_key


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    return [load_or_create_key(tmp_path / f"{number}.pem").public_key for number in range(3)]


def test_without_keys_only_the_homes_own_is_known_and_any_other_will_do(keys: list[str]) -> None:
    known = known_keys([], home_key=keys[0])

    assert not known.is_required
    assert [known.owner(key) for key in keys] == [HOME, None, None]
    assert known_keys([], home_key=None).owner(keys[0]) is None


def test_keys_that_are_given_are_required_and_the_homes_own_is_none_of_them(keys: list[str]) -> None:
    known = known_keys([keys[1]], home_key=keys[0])

    assert known.is_required
    assert [known.owner(key) is not None for key in keys] == [False, True, False]


def test_a_file_says_whose_each_key_is(keys: list[str], tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# ours\n\n  {keys[0]}   Lab One  \n{keys[1]}\n")

    known = known_keys([str(file), keys[2]], home_key=None)

    assert [known.owner(key) for key in keys] == ["Lab One", str(file), "the key that was given"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "holds no key"), ("# nothing\n", "holds no key"), ("Lab One\n", "line 1 begins with no key")],
)
def test_a_file_without_keys_is_an_error_that_names_the_line(
    tmp_path: Path, content: str, reason: str
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(content)

    with pytest.raises(BadPublicKeyError, match=reason):
        known_keys([str(file)], home_key=None)


def test_what_is_neither_key_nor_file_is_an_error_that_shows_a_key(keys: list[str], tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    # The last character has unused bits: another text for the same key, which no receipt holds.
    twin = keys[0][:-2] + chr(ord(keys[0][-2]) + 1) + "="

    paths = [str(tmp_path), str(tmp_path / "binary"), "/no/such/file", "x" * 5000]
    for text in ("AAAA", "", "a\0b", twin, *paths):
        with pytest.raises(BadPublicKeyError, match="44 characters of base64"):
            known_keys([text], home_key=None)
