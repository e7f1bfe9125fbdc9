"""Metadata of cards become tags, and what cannot be read are none."""

import io
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import card_index, catalogue, commits
from ayni.hub.card_index import check_card, front_matter, parse_metadata, tags_of
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table
from ayni.objects import ObjectStore

__all__ = ["connection"]

CARD = b"---\nlicense: mit\ntags:\n- digits\n- 2024\ndatasets: [me/d]\nlanguage: en\n---\n# Title\n"


def test_front_matter_is_what_stands_between_the_dashes() -> None:
    assert front_matter("---\na: 1\n---\nb: 2\n---\n") == "a: 1"
    assert front_matter("---\r\na: 1\r\n---\r\n") == "a: 1"
    assert front_matter("# Title\n---\na: 1\n---\n") is None
    assert front_matter("---\nnever closed") is None


def test_metadata_are_plain_values_whatever_yaml_makes_of_them() -> None:
    found = parse_metadata("date: 2024-01-02\nnan: .nan\n1: one\nlist: [1, [true, null]]\n")

    assert found == {"date": "2024-01-02", "nan": "nan", "1": "one", "list": [1, [True, None]]}


@pytest.mark.parametrize(
    "front",
    [
        "a: [",
        "- a\n- b",
        "a: &x 1\nb: *x",
        "a: !!python/object/apply:os.system ['true']",
        "a: " + "[" * 5000,
        "a:\n" + "".join(" " * depth + "- a:\n" for depth in range(1, 90)),
        "a: " + "[" * 90 + "]" * 90,
        "a: 0x" + "f" * 5000,
        "a: 0x" + "f" * 40,
        "a: " + "1:" * 5000 + "1",
        'a: "\\0"',
        'a: ["\\ud800"]',
        '"\\0": 1',
        "a: !!timestamp now",
        "a: !!bool perhaps",
        "a: !!int ''",
        "a: " + "x" * (1 << 19),
    ],
)
def test_hostile_and_broken_metadata_are_refused(front: str) -> None:
    with pytest.raises(ValueError, match="metadata"):
        parse_metadata(front)
    errors, _ = check_card(f"---\n{front}\n---\n", "model")
    assert len(errors) == 1


def test_tags_have_the_prefixes_of_the_hugging_face_hub() -> None:
    card = parse_metadata(str(front_matter(CARD.decode())))

    assert tags_of(card) == ["license:mit", "dataset:me/d", "en", "digits", "2024"]


def test_a_commit_of_the_readme_on_main_puts_new_tags_in_the_place_of_old_ones(
    connection: sa.Connection, tmp_path: Path
) -> None:
    content = ObjectStore(str(tmp_path))
    repository = catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)

    def commit_card(text: bytes) -> None:
        content.put(io.BytesIO(text))
        request = CommitRequest(changes={"README.md": entry(text)}, message="m", author="a", when=WHEN)
        hooks = CommitHooks(after=(card_index.indexing(content),))
        commits.commit(connection, repository, request, hooks=hooks)

    commit_card(CARD)
    assert "digits" in card_index.tags(connection, [repository.id])[repository.id]
    assert _found(connection, repository, "digits", "license:mit")
    assert not _found(connection, repository, "digits", "license:gpl")

    commit_card(b"no metadata any more")
    assert card_index.tags(connection, [repository.id]) == {}


def _found(connection: sa.Connection, repository: Repository, *tags: str) -> bool:
    conditions = card_index.has_tags(repositories_table.c.id, tags)
    page = catalogue.page(connection, "model", visible=sa.and_(*conditions))
    return page.repositories == (catalogue.by_id(connection, repository.id),)
