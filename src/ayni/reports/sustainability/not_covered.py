"""What the figures of a report leave out, said in sentences: what holds always, and what its entries show.

Not covered: how far figures can be trusted; that is their interval and tier.
"""

from collections.abc import Sequence

from ayni.footprint.sums.entries import FootprintEntry
from ayni.reports.formats import count, seconds
from ayni.reports.sustainability.inputs import ReportInputs, Selection
from ayni.reports.sustainability.node_accounts import without_overlaps

ALWAYS = (
    "Work that Ayni did not meter, and what machines drew while nothing was metered.",
    "What others do with the models that were published.",
    "Making of buildings, cooling and networks. Making of machines is in the embodied carbon, for the time "
    "that they were reserved.",
    "Market-based figures: certificates, contracts and offsets play no part. Carbon is location-based.",
    "Scarcity of water: litres are consumption, wherever they are taken.",
)


def not_covered(inputs: ReportInputs, selection: Selection) -> list[str]:
    """Sentences, the general ones last."""
    counted = selection.counted
    return [
        *_unknown(counted),
        *_scopes(counted),
        *_interrupted(counted),
        *_within_each_other(selection),
        *_overlapping(counted),
        *_months(counted),
        *_imports(selection),
        *ALWAYS,
    ]


def problems(inputs: ReportInputs) -> list[str]:
    """Files that could not be added up, whatever period they belong to."""
    return [*(text for kept in inputs.kept for text in kept.problems), *inputs.import_problems]


def _unknown(entries: Sequence[FootprintEntry]) -> list[str]:
    figures = (
        ("energy", [entry for entry in entries if entry.energy is None]),
        ("operational carbon", [entry for entry in entries if entry.carbon is None]),
        ("embodied carbon", [entry for entry in entries if entry.embodied is None]),
        ("water on the site", [entry for entry in entries if entry.on_site_litres is None]),
        ("water at the power plants", [entry for entry in entries if entry.off_site_litres is None]),
        ("cost of electricity", [e for e in entries if e.electricity_microcredits is None]),
    )
    return [
        f"The {name} of {count(len(unknown))} of {count(len(entries))} receipts is unknown, and in no sum."
        for name, unknown in figures
        if unknown
    ]


def _scopes(entries: Sequence[FootprintEntry]) -> list[str]:
    scopes = sorted({(entry.scope, entry.tier) for entry in entries if entry.energy is not None})
    if not scopes:
        return []
    tiers: dict[str, list[str]] = {}
    for scope, tier in scopes:
        tiers.setdefault(scope, []).append(tier)
    told = "; ".join(f"{scope} ({', '.join(names)})" for scope, names in tiers.items())
    return [f"Parts of machines that a meter does not count. Counted are: {told}."]


def _interrupted(entries: Sequence[FootprintEntry]) -> list[str]:
    lost = sum(entry.unmetered_seconds_at_most for entry in entries)
    return [f"At most {seconds(lost)} of work after interruptions, which no meter saw."] if lost else []


def _within_each_other(selection: Selection) -> list[str]:
    told = []
    if num := len(selection.nested):
        told.append(
            f"{count(num)} receipts lie within another run, whose energy holds theirs: they count once."
        )
    runs = {entry.run for entry in [*selection.counted, *selection.nested]}
    if num := sum(not runs.isdisjoint(entry.within) for entry in selection.counted):
        told.append(f"{count(num)} receipts lie partly within another run; the rest of them is added up.")
    return told


def _overlapping(entries: Sequence[FootprintEntry]) -> list[str]:
    nodes = {entry.node for entry in entries}
    num = len(entries) - sum(
        len(without_overlaps([entry for entry in entries if entry.node == node])) for node in nodes
    )
    if not num:
        return []
    return [
        f"{count(num)} receipts overlap others in time on their machine. Their own energy counts; their "
        "accounts of the machine are not added, since they would count the same idle twice."
    ]


def _months(entries: Sequence[FootprintEntry]) -> list[str]:
    num = sum(f"{entry.ended_at:%Y-%m}" != entry.month for entry in entries)
    return [f"{count(num)} receipts reach into another month; each counts where it began."] if num else []


def _imports(selection: Selection) -> list[str]:
    if not selection.imported:
        return []
    told = [
        f"{count(len(selection.imported))} figures were imported from other tools. They have no interval, "
        "nobody says what their carbon counts, and they are in no sum of what was metered here."
    ]
    if selection.num_repeats:
        told.append(
            f"{count(selection.num_repeats)} imported figures stand elsewhere as well and count once."
        )
    return told
