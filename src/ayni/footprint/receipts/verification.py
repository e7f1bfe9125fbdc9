"""The checks of a run's receipts that anybody can repeat from its files alone.

    signature and chain     nothing was altered, removed, repeated or reordered
    windows                 numbered 1, 2, 3 ..., each joined to the next, jobs + other + idle = node, and
                            shares that follow from CPU seconds and reserved cores (`window_checks`)
    coverage                each window is in exactly one receipt, with the SHA-256 that was signed
    sums                    energy, carbon, embodied carbon, water and cost follow from windows and terms

Not covered: whether the watts are true (the tier says how far they can be trusted), and whether the prices
and the grid's intensity are those that were agreed: a receipt names them, and its job does.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ayni.files import read_json_lines
from ayni.footprint.impacts.emissions import hourly_energy
from ayni.footprint.receipts.receipt import (
    SCHEMA,
    DamagedReceiptError,
    Receipt,
    ReceiptSubject,
    build_receipt,
    read_receipt,
    receipt_paths,
)
from ayni.footprint.receipts.receipt_terms import terms_of_receipt
from ayni.footprint.receipts.window_checks import check_attribution
from ayni.footprint.windows.window_file import Row, job_microjoules, total_of_windows
from ayni.signing import BadSignatureError, verify_chain

# Whoever alters files may also alter their form, and a check stumbles over that in one of these ways.
LOST_FORM = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
# These steps write the receipts and what follows them; a receipt cannot hold its own making.
STEPS_WITHOUT_RECEIPT = ("settle", "report", "end")


def verify_receipts(
    folder: Path,
    expected_public_key: str | None = None,
    *,
    steps_without_receipt: Collection[str] = STEPS_WITHOUT_RECEIPT,
) -> list[str]:
    """Everything wrong with the receipts of the run in `folder`; empty when all is well.

    Reads receipts/*.json and meter/windows.jsonl, nothing else. Windows of `steps_without_receipt` need
    no receipt.
    """
    problems, receipts = _read_receipts(folder / "receipts")
    problems += _check_chain(receipts, expected_public_key)
    try:
        rows = [row for row in read_json_lines(folder / "meter" / "windows.jsonl") if isinstance(row, dict)]
        windows = [row for row in rows if row.get("kind") == "window"]
        problems += check_windows(windows)
        problems += check_attribution(rows)
        problems += check_coverage(windows, receipts, steps_without_receipt)
        for receipt in receipts:
            problems += check_sums(receipt, rows)
    except LOST_FORM as error:
        problems.append(f"a window or receipt lacks its form: {type(error).__name__}: {error}")
    return problems


def check_windows(windows: list[Row]) -> list[str]:
    """Problems of the windows themselves: order, contact, and conservation of each."""
    problems = []
    previous: Row | None = None
    for position, window in enumerate(windows, start=1):
        number = window["window"]
        if number != position:
            problems.append(f"window {number} stands at place {position}: one is missing or repeated")
        # Each start of the meter has its own number; between two starts there may be a gap.
        of_one_start = previous is not None and previous["meter"] == window["meter"]
        if previous is not None and of_one_start and previous["ended_at"] != window["started_at"]:
            problems.append(f"window {number} does not begin where window {previous['window']} ends")
        problems += _check_conservation(window)
        previous = window
    return problems


def _check_conservation(window: Row) -> list[str]:
    node = window["node_microjoules"]
    if node is None:
        return []
    parts = [job_microjoules(window, job) for job in window["jobs"]]
    parts += [window["other_microjoules"], window["unreserved_idle_microjoules"]]
    parts += [window.get("neighbours_microjoules", 0)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or min(known, default=0) < 0 or sum(known) != node:
        return [
            f"window {window['window']}: jobs, others, neighbours and idle add up to {sum(known)} "
            f"microjoules, the node drew {node}"
        ]
    return []


def _read_receipts(folder: Path) -> tuple[list[str], list[Receipt]]:
    problems: list[str] = []
    receipts: list[Receipt] = []
    for position, path in enumerate(receipt_paths(folder), start=1):
        try:
            receipt = read_receipt(path)
        except DamagedReceiptError as error:
            problems.append(str(error))
            continue
        if path.name != f"{position:04d}-{receipt.get('step')}.json":
            problems.append(f"{path.name} holds the receipt of {receipt.get('step')} at place {position}")
        if receipt.get("schema") != SCHEMA:
            problems.append(
                f"{path.name} has the form {receipt.get('schema')!r}, and this version reads {SCHEMA!r}: "
                "verify it with the version of Ayni that wrote it"
            )
            continue
        receipts.append(receipt)
    if not receipts and not problems:
        problems.append(f"no receipt in {folder}")
    return problems, receipts


def _check_chain(receipts: list[Receipt], expected_public_key: str | None) -> list[str]:
    try:
        verify_chain(receipts, expected_public_key=expected_public_key)
    except BadSignatureError as error:
        return [str(error)]
    return []


def check_coverage(
    windows: list[Row], receipts: list[Receipt], steps_without_receipt: Collection[str]
) -> list[str]:
    """Problems of which receipt holds which window: each once, and none without."""
    there = sorted({window["window"] for window in windows})
    covered: Counter[int] = Counter()
    problems = []
    for receipt in receipts:
        for first, last in receipt["windows"]["ranges"]:
            # Never counted one by one: a receipt may claim any number of them.
            found = there[bisect_left(there, first) : bisect_right(there, last)]
            covered.update(found)
            if len(found) != last - first + 1:
                problems.append(
                    f"receipt of {receipt['step']}: of the windows {first} to {last} the meter's file lacks "
                    f"{last - first + 1 - len(found)}"
                )
    if twice := sorted(number for number, times in covered.items() if times > 1):
        problems.append(f"windows in more than one receipt: {_shortened(twice)}")
    uncovered = [
        window["window"]
        for window in windows
        if window["window"] not in covered and window["step"] not in steps_without_receipt
    ]
    if uncovered:
        problems.append(f"windows without a receipt: {_shortened(uncovered)}")
    return problems


def _shortened(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:5]))
    return text if len(numbers) <= 5 else f"{text} ... ({len(numbers)} in all)"


def check_sums(receipt: Receipt, rows: list[Row]) -> list[str]:
    """Fields of a receipt that do not follow from its windows and its own terms."""
    try:
        expected = _made_again(receipt, rows)
    except LOST_FORM as error:
        return [f"receipt of {receipt['step']}: {error} ({type(error).__name__})"]
    return [
        f"receipt of {receipt['step']}: {name} is {actual}, its windows say {value}"
        for name, actual, value in differences(receipt, expected)
    ]


def _made_again(receipt: Receipt, rows: list[Row]) -> Receipt:
    """The receipt that follows from the windows and the terms in the one at hand."""
    return build_receipt(
        total_of_windows(rows, receipt["step"], job=receipt["run"]),
        hourly_energy(rows, receipt["step"], job=receipt["run"]),
        subject=ReceiptSubject(**{name: receipt[name] for name in ReceiptSubject.__slots__}),
        terms=terms_of_receipt(receipt),
        previous_hash=receipt["previous_hash"],
    )


def differences(receipt: Receipt, expected: Receipt) -> Iterator[tuple[str, Any, Any]]:
    """Each field of `expected` that differs: its name, what the receipt says, and what follows."""
    return _differences("", receipt, expected)


def _differences(name: str, actual: Any, expected: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from _differences(f"{name}.{key}" if name else key, actual.get(key), value)
    elif isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        for index, value in enumerate(expected):
            yield from _differences(f"{name}[{index}]", actual[index], value)
    elif not _equal(actual, expected):
        yield name, actual, expected


def _equal(actual: Any, expected: Any) -> bool:
    if isinstance(actual, float) and isinstance(expected, float):
        return math.isclose(actual, expected, rel_tol=1e-9)
    return bool(actual == expected)
