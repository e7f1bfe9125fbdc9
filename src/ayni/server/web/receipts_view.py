"""What the receipts in a repository add up to, and whether they hold.

    verified    signed by a key that a member of this hub showed to be theirs or its operator vouches for, in
                an unbroken chain, and each receipt's sums follow from what it states
    sound       the same, by a key that nobody here stands for
    other       written in a form that this version does not read
    broken      a signature, the chain or a sum is wrong: nothing is added up

Not covered: whether receipts are true to the windows of the meter, which stay with the run.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ayni.footprint.receipts.evidence_forms import unformed_receipt
from ayni.footprint.receipts.receipt import SCHEMA
from ayni.footprint.receipts.receipt_checks import check_receipt
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import TreeEntry
from ayni.reports.footprint_view import footprint_view
from ayni.signing import BadSignatureError, verify_chain

FOLDER = "receipts/"
MOST_RECEIPTS = 100
LARGEST_RECEIPT_BYTES = 512 << 10

State = Literal["none", "verified", "sound", "other", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsView:
    """The receipts of a repository.

    Attributes:
        state: see the module.
        footprint: their sums, as in the report of a run; None where there are none, or they do not hold.
        owners: whose keys signed, as far as they are known here, by public key.
        problems: what is wrong.
        paths: of the files, in order.
    """

    state: State
    footprint: Mapping[str, Any] | None = None
    owners: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def receipts_view(
    content: ContentStore, files: Mapping[str, TreeEntry], known_keys: Mapping[str, str]
) -> ReceiptsView:
    """Read and check the receipts among the files of a revision.

    Args:
        content: where their bytes are.
        files: of the revision, by path.
        known_keys: public key of Ed25519 in base64 -> whose it is.
    """
    paths = tuple(path for path in sorted(files) if _is_receipt(path))
    if not paths:
        return ReceiptsView(state="none")
    problems: list[str] = []
    others: list[str] = []
    if len(paths) > MOST_RECEIPTS:
        problems.append(f"{len(paths)} receipts are more than the {MOST_RECEIPTS} that are checked here.")
    receipts = []
    for path in paths[:MOST_RECEIPTS]:
        name = path.removeprefix(FOLDER)
        found = _read(content, files[path])
        if isinstance(found, str):
            problems.append(f"{name}: {found}")
        elif found.get("schema") != SCHEMA:
            others.append(
                f"{name} has the form {str(found.get('schema'))[:60]!r}; this hub reads {SCHEMA!r}."
            )
        elif (missing := unformed_receipt(found)) is not None:
            problems.append(f"{name}: it lacks the form of a receipt ({missing}).")
        else:
            receipts.append(found)
    if others and not problems:
        return ReceiptsView(state="other", problems=tuple(others), paths=paths)
    problems += _problems(receipts, paths)
    if problems:
        return ReceiptsView(state="broken", problems=tuple(problems), paths=paths)
    keys = sorted({str(each["public_key"]) for each in receipts})
    owners = {key: known_keys[key] for key in keys if key in known_keys}
    return ReceiptsView(
        state="verified" if len(owners) == len(keys) else "sound",
        footprint=footprint_view(receipts, folder=Path()),
        owners=owners,
        paths=paths,
    )


def receipts_json(found: ReceiptsView) -> dict[str, Any]:
    """What a program is told: whether they hold, who signed, and what is wrong."""
    return {
        "state": found.state,
        "numReceipts": len(found.paths),
        "signedBy": sorted(set(found.owners.values())),
        "problems": list(found.problems),
    }


def _is_receipt(path: str) -> bool:
    return path.startswith(FOLDER) and path.endswith(".json") and path.count("/") == 1


def _read(content: ContentStore, entry: TreeEntry) -> dict[str, Any] | str:
    """A receipt, or why there is none."""
    if entry.sha256 is None or (entry.size_bytes or 0) > LARGEST_RECEIPT_BYTES:
        return f"it is larger than {LARGEST_RECEIPT_BYTES} bytes."
    try:
        found = json.loads(b"".join(content.read(entry.sha256)))
    except (ValueError, RecursionError):
        return "it is no JSON."
    return found if isinstance(found, dict) else "it is no receipt."


def _problems(receipts: list[dict[str, Any]], paths: Iterable[str]) -> list[str]:
    try:
        verify_chain(receipts)
    except BadSignatureError as error:
        return [str(error)]
    return [
        f"{path.removeprefix(FOLDER)}: {problem}."
        for path, receipt in zip(paths, receipts, strict=False)
        for problem in check_receipt(receipt)[:3]
    ]
