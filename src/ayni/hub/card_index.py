"""What a repository's README.md says about it, and the tags by which it is found.

The metadata at the top of the README of `main` are read at each commit that changes it; their tags are rows,
so that a listing is filtered by an index. Reading never fails: metadata that cannot be read are none.

Not covered: whether what a card says is true, and warnings about it.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import yaml

from ayni.database import metadata
from ayni.hub import revisions
from ayni.hub.commits import AfterCommit, CommitRequest, Committed
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import TreeEntry
from ayni.hub.repository import Repository

CARD_FILE = "README.md"
MAX_METADATA_BYTES = 256 << 10
MAX_METADATA_DEPTH = 50
MAX_NUMBER_LENGTH = 1_000
MAX_TAG_LENGTH = 200
MAX_TAGS = 1_000
_NUMBER_BITS = 63
# The reader in C is ten times as fast and makes the same values; it is not in every build of PyYAML.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIXES = {
    "license": "license:",
    "datasets": "dataset:",
    "base_model": "base_model:",
    "language": "",
    "library_name": "",
    "pipeline_tag": "",
    "tags": "",
    "task_categories": "task_categories:",
    "task_ids": "task_ids:",
    "size_categories": "size_categories:",
    "multilinguality": "multilinguality:",
    "language_creators": "language_creators:",
    "annotations_creators": "annotations_creators:",
}

tags_table = sa.Table(
    "hub_tags",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Index("ix_hub_tags_tag", "tag"),
)


def front_matter(text: str) -> str | None:
    """The YAML between the first two lines of three dashes; None without any."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return None
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:number])
    return None


def parse_metadata(front: str) -> dict[str, Any]:
    """YAML metadata as plain JSON values.

    Raises:
        ValueError: too long, no YAML, not a mapping, or it uses aliases (which can grow without bound), is
            nested too deeply (readers take the square of the depth), or holds what JSON cannot.
    """
    # Within one commit several look at the same card; long ones take a second.
    return dict(_parsed(front))


@functools.lru_cache(maxsize=16)
def _parsed(front: str) -> dict[str, Any]:
    found = parse_yaml(front)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("the metadata are no mapping of keys to values")
    return found


def parse_yaml(text: str) -> Any:
    """YAML as plain JSON values.

    Raises:
        ValueError: too long, no YAML, or it uses aliases (which can grow without bound), is nested
            too deeply (readers take the square of the depth), or holds what JSON cannot.
    """
    if len(text.encode(errors="replace")) > MAX_METADATA_BYTES:
        raise ValueError(f"the metadata are longer than {MAX_METADATA_BYTES} bytes")
    try:
        problem = _problem(text)
        found = None if problem else yaml.load(text, _LOADER)
    # What the reader raises for tags that do not fit their values: !!bool x, !!timestamp x, !!int "".
    except (yaml.YAMLError, RecursionError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"the metadata are no YAML: {' '.join(str(error).split())}") from error
    if problem:
        raise ValueError(f"the metadata {problem}")
    return _plain(found)


def _problem(front: str) -> str:
    """Why YAML is not read at all; empty where nothing is wrong. Nothing is kept in memory meanwhile."""
    depth = 0
    for event in yaml.parse(front, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            return "use YAML aliases, which are not accepted"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_METADATA_DEPTH:
            return f"are nested more than {MAX_METADATA_DEPTH} deep"
        # Numbers to the base of 60 take the square of their length to be read.
        if isinstance(event, yaml.ScalarEvent) and event.style is None and _is_long_number(event.value):
            return f"hold a number of {len(event.value)} characters"
    return ""


def _is_long_number(text: str) -> bool:
    return len(text) > MAX_NUMBER_LENGTH and text[0] in "+-.0123456789"


def read_card(content: ContentStore, entry: TreeEntry | None) -> dict[str, Any]:
    """The metadata of a README; none where it has none, or they cannot be read."""
    if entry is None or entry.sha256 is None:
        return {}
    start = b"".join(content.read(entry.sha256, 0, MAX_METADATA_BYTES + (1 << 12)))
    front = front_matter(start.decode(errors="replace"))
    try:
        return {} if front is None else parse_metadata(front)
    except ValueError:
        return {}


def tags_of(card: Mapping[str, Any]) -> list[str]:
    """The tags that the Hugging Face Hub would show for these metadata, each once."""
    found: dict[str, None] = {}
    for key, prefix in _TAG_PREFIXES.items():
        for value in _texts(card.get(key)):
            found[f"{prefix}{value}"[:MAX_TAG_LENGTH]] = None
    return list(found)[:MAX_TAGS]


def refresh(connection: sa.Connection, content: ContentStore, repository_id: int, tree: str) -> None:
    """Put the tags of a tree's README in the place of those that were there."""
    card = read_card(content, revisions.find_entry(connection, tree, CARD_FILE))
    connection.execute(tags_table.delete().where(tags_table.c.repository_id == repository_id))
    rows = [{"repository_id": repository_id, "tag": tag} for tag in tags_of(card)]
    if rows:
        connection.execute(tags_table.insert(), rows)


def indexing(content: ContentStore) -> AfterCommit:
    """What keeps the tags up to date, for `CommitHooks.after`."""

    def follow(
        connection: sa.Connection, repository: Repository, request: CommitRequest, committed: Committed
    ) -> None:
        if request.ref == revisions.MAIN and CARD_FILE in request.changes:
            made = revisions.read_commit(connection, repository.id, committed.revision)
            assert made is not None
            refresh(connection, content, repository.id, made.tree)

    return follow


def tags(connection: sa.Connection, repository_ids: Sequence[int]) -> dict[int, list[str]]:
    """Tags by number of repository, in alphabetical order."""
    columns = tags_table.c
    query = sa.select(columns.repository_id, columns.tag).where(columns.repository_id.in_(repository_ids))
    found: dict[int, list[str]] = {}
    for row in connection.execute(query.order_by(columns.tag)):
        found.setdefault(row.repository_id, []).append(row.tag)
    return found


def has_tags(repository_id: sa.ColumnElement[int], wanted: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    """Conditions that a repository has every one of some tags."""
    columns = tags_table.c
    return [sa.exists().where(columns.repository_id == repository_id, columns.tag == tag) for tag in wanted]


def _texts(value: Any) -> Iterator[str]:
    values = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, str | int | float) and not isinstance(each, bool) and str(each).strip():
            yield str(each).strip()


def _plain(value: Any) -> Any:
    """JSON values that every database keeps.

    Raises:
        ValueError: a number is too large, or a text holds what is no character.
    """
    if isinstance(value, dict):
        return {_text(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        # JSON knows neither infinity nor NaN.
        return value if value - value == 0 else str(value)
    if isinstance(value, int) and value.bit_length() > _NUMBER_BITS:
        raise ValueError(f"the metadata hold a number of more than {_NUMBER_BITS} bits")
    return value if value is None or isinstance(value, int) else _text(str(value))


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the metadata hold a NUL or half a character, written as an escape")
    return text


CheckCard = Callable[[str, str], tuple[list[str], list[str]]]
"""(text of a README, kind) -> (errors, warnings)."""


def check_card(text: str, _kind: str) -> tuple[list[str], list[str]]:
    """What is wrong with a card's metadata: errors that stop a commit, and warnings."""
    front = front_matter(text)
    if front is None:
        return [], ["The card has no metadata. Put YAML between two lines of --- at its top."]
    try:
        parse_metadata(front)
    except ValueError as error:
        return [f"{error}"], []
    return [], []
