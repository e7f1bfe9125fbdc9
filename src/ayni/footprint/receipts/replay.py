"""The same receipt or the same window handed in twice, under whatever names.

    receipt   by its hash; by the windows that it names (their SHA-256); by its time and its node's energy,
              which no two meters read alike to the microsecond and the microjoule
    window    by its time and what the node drew and computed in it
    stretch   several windows in a row, by their lengths, energies and CPU seconds, when their times were
              moved

A copy says the same of the same work: who counts both counts it twice. So it does not matter whether the
second one was signed again, renamed or given to another job.

Not covered: windows that were altered by a little each. Those no longer follow from what the receipt's
signature covers, unless its signer altered them.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ayni.footprint.receipts.evidence import Evidence
from ayni.footprint.windows.window_file import Row

# So many different windows in a row are alike by no accident, also of meters side by side: each has its own
# length to the microsecond.
_STRETCH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where something stands: in which evidence, and its name there."""

    evidence: str
    name: str


def find_replays(given: Sequence[Evidence]) -> list[str]:
    """Everything that stands twice, one sentence for each pair of places."""
    receipts = list(_receipt_marks(given))
    windows = list(_window_marks(given))
    problems = _twice("receipt", receipts)
    problems += _twice("window", windows)
    # Stretches that are copies in time as well have been told of.
    told = {frozenset((first.evidence, second.evidence)) for first, second in _pairs(windows)}
    moved = [
        (first, second)
        for first, second in _pairs(list(_stretch_marks(given)))
        if frozenset((first.evidence, second.evidence)) not in told
    ]
    return problems + [
        f"windows from {first.name} of {first.evidence} and from {second.name} of {second.evidence} are "
        "alike one by one: one is a copy with other times"
        for first, second in _first_of_each(moved)
    ]


def _receipt_marks(given: Iterable[Evidence]) -> Iterator[tuple[Hashable, _Place]]:
    for evidence in given:
        for found in evidence.receipts:
            receipt = found.receipt
            place = _Place(evidence=evidence.place, name=f"{receipt.get('step')} ({found.place})")
            yield ("hash", receipt["hash"]), place
            yield ("windows", receipt["windows"]["sha256"]), place
            node = receipt["node_account"]["node_microjoules"]
            if node:
                yield ("time", receipt["started_at"], receipt["ended_at"], node), place


def _window_marks(given: Iterable[Evidence]) -> Iterator[tuple[Hashable, _Place]]:
    for evidence in given:
        for window in evidence.windows:
            if window["node_microjoules"]:
                mark = (window["started_at"], window["ended_at"], *_drawn(window))
                yield mark, _Place(evidence=evidence.place, name=str(window["window"]))


def _stretch_marks(given: Iterable[Evidence]) -> Iterator[tuple[Hashable, _Place]]:
    for evidence in given:
        known = [window for window in evidence.windows if window["node_microjoules"]]
        for start in range(len(known) - _STRETCH + 1):
            stretch = tuple(
                (window["seconds"], *_drawn(window)) for window in known[start : start + _STRETCH]
            )
            # Windows all alike, as a pretended meter writes them, are no stretch that one could recognise.
            if len(set(stretch)) == _STRETCH:
                yield stretch, _Place(evidence=evidence.place, name=str(known[start]["window"]))


def _drawn(window: Row) -> tuple[int, float]:
    return window["node_microjoules"], window["busy_cpu_seconds"]


def _pairs(marks: Sequence[tuple[Hashable, _Place]]) -> list[tuple[_Place, _Place]]:
    """Each second place of a mark with its first one; a place with itself is no pair."""
    first: dict[Hashable, _Place] = {}
    pairs = []
    for mark, place in marks:
        known = first.setdefault(mark, place)
        if known != place:
            pairs.append((known, place))
    return list(dict.fromkeys(pairs))


def _twice(what: str, marks: Sequence[tuple[Hashable, _Place]]) -> list[str]:
    """One sentence for two places that have several things in common."""
    together: dict[tuple[str, str], list[tuple[_Place, _Place]]] = {}
    for first, second in _pairs(marks):
        together.setdefault((first.evidence, second.evidence), []).append((first, second))
    return [_sentence(what, pairs) for pairs in together.values()]


def _sentence(what: str, pairs: Sequence[tuple[_Place, _Place]]) -> str:
    first, second = pairs[0]
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    if first.evidence == second.evidence:
        return f"{first.evidence}: {what} {first.name} stands again as {second.name}{more}"
    return f"{what} {first.name} of {first.evidence} stands again in {second.evidence} as {second.name}{more}"


def _first_of_each(pairs: Iterable[tuple[_Place, _Place]]) -> list[tuple[_Place, _Place]]:
    found: dict[tuple[str, str], tuple[_Place, _Place]] = {}
    for first, second in pairs:
        found.setdefault((first.evidence, second.evidence), (first, second))
    return list(found.values())
