"""What models are said to reach on data sets, from three places of their repositories, as rows.

    .eval_results/*.yaml    [{dataset: {id, task_id}, value, ...}]        measure = task_id
    README.md               model-index: [{results: [{dataset, metrics}]}]  measure = type of the metric
    run-results.json        signed by the Ayni run that measured it         measure = name of the metric

A claim of the first two that says what verified run results say takes over their size, latency and energy;
results that nobody repeats are rows of their own. The rows of main are made anew at each commit that may
change them.

Verified is a result whose evidence verifies in the repository and whose key a member of this hub has shown to
hold: somebody here stands for it by name. Evidence of an unknown key is called signed. It proves that nothing
was changed, but anybody can make a key.

Not covered: running the evaluation again, and `verifyToken` of other hubs.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import UserError
from ayni.hub import card_index, revisions
from ayni.hub.commits import AfterCommit, CommitRequest, Committed
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import TreeEntry
from ayni.hub.lineage import edges_table
from ayni.hub.repository import Repository
from ayni.hub.run_results import RESULTS_FILE, BadRunResultsError, RunResults, verify_results
from ayni.hub.tables import repositories_table
from ayni.signing import BadSignatureError, SigningKey, sha256_hex, sign_record, verify_record

Evidence = Literal["none", "signed", "verified"]

EVAL_RESULTS, RECEIPTS = ".eval_results", "receipts"
KEY_SCHEMA = "ayni/run-key/1"
MOST_FILES, MOST_ENTRIES = 100, 1_000
MOST_FILE_BYTES = 256 << 10
MOST_RESULTS_BYTES = 4 << 20
_LONGEST_NAME = 200

evaluations_table = sa.Table(
    "hub_evaluations",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("filename", sa.String, nullable=False),
    sa.Column("dataset", sa.String, nullable=False),
    # Lower case, as names are compared.
    sa.Column("dataset_key", sa.String, nullable=False),
    sa.Column("measure", sa.String, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    # JSON of the claim as it stands in the file.
    sa.Column("claim", sa.String, nullable=False),
    # Of the evidence; NULL without one.
    sa.Column("public_key", sa.String, nullable=True),
    # JSON of what the evidence says of this result.
    sa.Column("measured", sa.String, nullable=False),
    sa.Index("ix_hub_evaluations_dataset", "dataset_key", "measure"),
)

run_keys_table = sa.Table(
    "hub_run_keys",
    metadata,
    sa.Column("public_key", sa.String, primary_key=True),
    sa.Column("user", sa.String, nullable=False),
    sa.Column("added_at", sa.String, nullable=False),
)
_COLUMNS, _KEYS = evaluations_table.c, run_keys_table.c


class RunKeyError(UserError):
    """A key of runs cannot be added or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the evidence of a run says beside the value. None is unknown.

    `run_joules` is what the whole run drew up to its publication, with its interval and the tiers of its
    meters.
    """

    variant: str = ""
    stored_bytes: int | None = None
    latency_seconds: float | None = None
    energy_joules_per_1000: float | None = None
    run: str = ""
    run_joules: float | None = None
    run_low_joules: float | None = None
    run_high_joules: float | None = None
    tiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A value that a model reached. `vouched_by` is the member whose key signed, of verified ones."""

    repository_id: int
    repository: str
    filename: str
    dataset: str
    measure: str
    value: float
    claim: Mapping[str, Any]
    evidence: Evidence = "none"
    vouched_by: str | None = None
    measured: Measured = Measured()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A value as a file has it, with what run results add to it."""

    filename: str
    dataset: str
    measure: str
    value: float
    said: Mapping[str, Any]
    public_key: str | None = None
    measured: Measured = Measured()


def following(content: ContentStore) -> AfterCommit:
    """What keeps the rows up to date, for `CommitHooks.after`."""

    def follow(
        connection: sa.Connection, repository: Repository, request: CommitRequest, committed: Committed
    ) -> None:
        if request.ref == revisions.MAIN and repository.kind == "model":
            made = revisions.read_commit(connection, repository.id, committed.revision)
            assert made is not None
            if _may_change(connection, repository.id, request):
                refresh(connection, content, repository.id, made.tree)

    return follow


def refresh(connection: sa.Connection, content: ContentStore, repository_id: int, tree: str) -> None:
    """Put the claims of a tree in the place of those that were there."""
    connection.execute(evaluations_table.delete().where(_COLUMNS.repository_id == repository_id))
    rows = [
        {
            "repository_id": repository_id,
            "number": number,
            "filename": each.filename,
            "dataset": each.dataset,
            "dataset_key": each.dataset.lower(),
            "measure": each.measure,
            "value": each.value,
            "claim": json.dumps(each.said),
            "public_key": each.public_key,
            "measured": json.dumps(_measured_json(each.measured)),
        }
        for number, each in enumerate(claims_of(connection, content, tree))
    ]
    if rows:
        connection.execute(evaluations_table.insert(), rows)


def claims_of(connection: sa.Connection, content: ContentStore, tree: str) -> list[Claim]:
    """All claims of a tree. What cannot be read is none."""
    claims = [
        *_eval_results(connection, content, tree),
        *model_index(
            card_index.read_card(content, revisions.find_entry(connection, tree, card_index.CARD_FILE))
        ),
    ][:MOST_ENTRIES]
    found = run_results(connection, content, tree)
    return claims if found is None else with_evidence(claims, found)


def with_evidence(claims: list[Claim], found: RunResults) -> list[Claim]:
    """Claims with what a run has measured; results that nobody claims are claims of their own."""
    rest = [
        Claim(
            filename=RESULTS_FILE,
            dataset=found.dataset,
            measure=measure,
            value=value,
            said={"variant": result.variant, "split": found.split},
            public_key=found.public_key,
            measured=Measured(
                variant=result.variant,
                stored_bytes=result.stored_bytes,
                latency_seconds=result.latency_seconds,
                energy_joules_per_1000=result.energy_joules_per_1000,
                run=found.run,
                run_joules=found.joules,
                run_low_joules=found.low_joules,
                run_high_joules=found.high_joules,
                tiers=found.tiers,
            ),
        )
        for result in found.results
        for measure, value in result.metrics.items()
    ]
    joined = []
    for claim in claims:
        # Each result answers for one claim, in the order of the files.
        same = next((each for each in rest if _is_same(claim, each)), None)
        if same is None:
            joined.append(claim)
        else:
            rest.remove(same)
            joined.append(replace(claim, public_key=same.public_key, measured=same.measured))
    return [*joined, *rest]


def run_results(connection: sa.Connection, content: ContentStore, tree: str) -> RunResults | None:
    """The results of a run that verify in this tree; None without such."""
    entry = revisions.find_entry(connection, tree, RESULTS_FILE)
    folder = revisions.find_entry(connection, tree, RECEIPTS)
    if entry is None or folder is None or not folder.is_folder:
        return None
    beside = revisions.read_tree(connection, folder.git_sha1)
    receipts = sorted((each for each in beside if each.name.endswith(".json")), key=lambda each: each.name)
    try:
        record = _json(content, entry, MOST_RESULTS_BYTES)
        read = [_json(content, each, MOST_RESULTS_BYTES) for each in receipts[:MOST_ENTRIES]]
        paths = {str(each.get("file")) for each in record["results"]}
        files = {path: revisions.find_entry(connection, tree, path) for path in paths}
        known = {path: str(each.sha256) for path, each in files.items() if each is not None}
        return verify_results(record, files=known, receipts=read)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadRunResultsError):
        return None


def model_index(card: Mapping[str, Any]) -> Iterator[Claim]:
    """The claims of a card's `model-index`."""
    for model in _list(card.get("model-index")):
        for result in _list(_get(model, "results")):
            dataset = _get(_get(result, "dataset"), "type") or _get(_get(result, "dataset"), "name")
            for metric in _list(_get(result, "metrics")):
                value, measure = _number(_get(metric, "value")), _name(_get(metric, "type"))
                if value is not None and measure and _name(dataset):
                    yield Claim(
                        filename=card_index.CARD_FILE,
                        dataset=_name(dataset),
                        measure=measure,
                        value=value,
                        said={"task": _get(result, "task"), "dataset": _get(result, "dataset"), **metric},
                    )


def eval_results(filename: str, entries: Any) -> Iterator[Claim]:
    """The claims of one file of `.eval_results`."""
    for entry in _list(entries):
        dataset, value = _get(entry, "dataset"), _number(_get(entry, "value"))
        name, task = _name(_get(dataset, "id")), _name(_get(dataset, "task_id"))
        if name and task and value is not None:
            yield Claim(filename=filename, dataset=name, measure=task, value=value, said=entry)


def of_dataset(
    connection: sa.Connection,
    dataset: str,
    *,
    visible: sa.ColumnElement[bool],
    measure: str | None = None,
    only_bases: bool = False,
) -> list[Evaluation]:
    """What models that the reader may see reach on a data set, by repository.

    Args:
        connection: to read from.
        dataset: its name, whatever the case.
        visible: `permissions.visible(caller)`.
        measure: of this one alone.
        only_bases: leave out models that are made from another one.
    """
    conditions = [_COLUMNS.dataset_key == dataset.lower(), visible]
    if measure is not None:
        conditions.append(_COLUMNS.measure == measure)
    if only_bases:
        edges = edges_table.c
        is_derived = sa.exists().where(
            edges.repository_id == _COLUMNS.repository_id, edges.parent_kind == "model"
        )
        conditions.append(sa.not_(is_derived))
    return [_evaluation(row) for row in connection.execute(_select().where(*conditions))]


def of_repository(connection: sa.Connection, repository_id: int) -> list[Evaluation]:
    """What one model is said to reach."""
    return [
        _evaluation(row)
        for row in connection.execute(_select().where(_COLUMNS.repository_id == repository_id))
    ]


def key_statement(member: str, key: SigningKey) -> dict[str, Any]:
    """What a member hands in to stand for the runs that a key signed: only who has the key can make it."""
    return sign_record({"schema": KEY_SCHEMA, "member": member}, key)


def add_run_key(connection: sa.Connection, statement: Any, *, member: str, when: datetime) -> str:
    """From now on the member stands for what this key signs; the key.

    Raises:
        RunKeyError: the statement does not prove it, or another member has the key.
    """
    try:
        verify_record(statement)
    except BadSignatureError as error:
        raise RunKeyError(f"The statement is not signed by its key: {error}") from error
    said = (statement.get("schema"), str(statement.get("member")).lower())
    if said != (KEY_SCHEMA, member.lower()):
        raise RunKeyError(f"The statement does not say that the key is that of {member}.")
    public_key: str = statement["public_key"]
    owner = connection.scalar(sa.select(_KEYS.user).where(_KEYS.public_key == public_key))
    if owner is not None and owner.lower() != member.lower():
        raise RunKeyError(f"The key is that of {owner} already.")
    if owner is None:
        values = {"public_key": public_key, "user": member, "added_at": when.isoformat()}
        connection.execute(run_keys_table.insert().values(values))
    return public_key


def run_keys(connection: sa.Connection) -> list[tuple[str, str]]:
    """(public key, member) of all keys that members stand for."""
    query = sa.select(_KEYS.public_key, _KEYS.user).order_by(_KEYS.user, _KEYS.public_key)
    return [(row.public_key, row.user) for row in connection.execute(query)]


def remove_run_key(connection: sa.Connection, fingerprint: str, *, member: str) -> None:
    """The member no longer stands for what this key signed. `fingerprint` is the SHA-256 of its text.

    Raises:
        RunKeyError: the member has no such key.
    """
    own = [key for key, user in run_keys(connection) if user.lower() == member.lower()]
    found = next((key for key in own if sha256_hex(key.encode()) == fingerprint), None)
    if found is None:
        raise RunKeyError(f"{member} has no such key.")
    connection.execute(run_keys_table.delete().where(_KEYS.public_key == found))


def _may_change(connection: sa.Connection, repository_id: int, request: CommitRequest) -> bool:
    names = (card_index.CARD_FILE, RESULTS_FILE, EVAL_RESULTS, RECEIPTS)
    if any(path.partition("/")[0] in names for path in request.changes):
        return True
    # Evidence is about files: any of them may be the one that was measured.
    signed = sa.select(sa.func.count()).where(
        _COLUMNS.repository_id == repository_id, _COLUMNS.public_key.is_not(None)
    )
    return bool(connection.scalar(signed))


def _eval_results(connection: sa.Connection, content: ContentStore, tree: str) -> Iterator[Claim]:
    folder = revisions.find_entry(connection, tree, EVAL_RESULTS)
    if folder is None or not folder.is_folder:
        return
    for entry in revisions.read_tree(connection, folder.git_sha1)[:MOST_FILES]:
        is_yaml = entry.name.endswith((".yaml", ".yml")) and (entry.size_bytes or 0) <= MOST_FILE_BYTES
        if is_yaml and entry.sha256 is not None:
            text = b"".join(content.read(entry.sha256)).decode(errors="replace")
            try:
                found = card_index.parse_yaml(text)
            except ValueError:
                continue
            yield from eval_results(f"{EVAL_RESULTS}/{entry.name}", found)


def _is_same(claim: Claim, result: Claim) -> bool:
    is_about_it = claim.dataset.lower() == result.dataset.lower() and claim.measure == result.measure
    # A card has five significant digits.
    return is_about_it and math.isclose(claim.value, result.value, rel_tol=5e-5, abs_tol=1e-12)


def _json(content: ContentStore, entry: TreeEntry, most_bytes: int) -> Any:
    if entry.sha256 is None or (entry.size_bytes or 0) > most_bytes:
        raise ValueError("no file, or too long")
    return json.loads(b"".join(content.read(entry.sha256)))


def _list(value: Any) -> list[Any]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        return ""
    # Neither NUL nor half of a surrogate pair, which YAML may hold, can be kept.
    return value if "\0" not in value and value.encode(errors="ignore").decode() == value else ""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _measured_json(measured: Measured) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in Measured.__dataclass_fields__}


def _select() -> sa.Select[Any]:
    places = repositories_table.c
    return (
        sa.select(evaluations_table, places.name, _KEYS.user.label("vouched_by"))
        .join(repositories_table, places.id == _COLUMNS.repository_id)
        .outerjoin(run_keys_table, _KEYS.public_key == _COLUMNS.public_key)
        .where(places.deleted_at.is_(None))
        .order_by(_COLUMNS.repository_id, _COLUMNS.number)
    )


def _evaluation(row: sa.Row[Any]) -> Evaluation:
    said = json.loads(row.measured)
    evidence: Evidence = "none"
    if row.public_key is not None:
        evidence = "signed" if row.vouched_by is None else "verified"
    return Evaluation(
        repository_id=row.repository_id,
        repository=row.name,
        filename=row.filename,
        dataset=row.dataset,
        measure=row.measure,
        value=row.value,
        claim=json.loads(row.claim),
        evidence=evidence,
        vouched_by=row.vouched_by,
        measured=Measured(**{**said, "tiers": tuple(said["tiers"])}),
    )
