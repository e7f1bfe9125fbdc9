"""What a receipt says, against itself: for whoever has the receipt and not its windows.

What only windows know (energy, seconds, cores) is taken as the receipt states it, and everything that was
computed from that is computed again with the terms in the receipt: facility energy, carbon hour by hour,
embodied carbon, water, cost. The node's account must add up, and hold what the job drew.

Not covered: whether the receipt is true to its windows; `verification.check_sums` does that. Attempts, CPU
seconds, and reserved core-hours with their price, follow from windows alone.
"""

from collections.abc import Iterator
from datetime import datetime

from ayni.footprint.counters.meters import TIERS
from ayni.footprint.impacts.emissions import HourlyEnergy
from ayni.footprint.receipts.receipt import Receipt, ReceiptSubject, build_receipt
from ayni.footprint.receipts.receipt_terms import BY_CORES, WHOLE, terms_of_receipt
from ayni.footprint.receipts.verification import LOST_FORM, differences
from ayni.footprint.windows.window_file import EnergyTotal, Row

_ACCOUNTS = (
    "job_microjoules",
    "other_jobs_microjoules",
    "other_microjoules",
    "unreserved_idle_microjoules",
    "neighbours_microjoules",
)
_SECONDS_PER_HOUR = 3600.0
_CLOCK_SECONDS = 0.001


def check_receipt(receipt: Receipt) -> list[str]:
    """Everything in a receipt that contradicts the rest of it; empty when nothing does."""
    try:
        problems = [
            *_problems_of_account(receipt),
            *_problems_of_time(receipt),
            *_problems_of_within(receipt),
        ]
        expected = build_receipt(
            _total(receipt),
            _hourly_energy(receipt),
            subject=ReceiptSubject(**{name: receipt[name] for name in ReceiptSubject.__slots__}),
            terms=terms_of_receipt(receipt),
            previous_hash=receipt["previous_hash"],
        )
    except LOST_FORM as error:
        return [f"it lacks the form of a receipt: {type(error).__name__}: {error}"]
    return problems + [
        f"{name} is {actual}, the rest of it says {value}"
        for name, actual, value in differences(receipt, expected)
    ]


def _problems_of_account(receipt: Receipt) -> Iterator[str]:
    account = receipt["node_account"]
    parts = [account[name] for name in _ACCOUNTS]
    energy, node = receipt["energy_microjoules"], account["node_microjoules"]
    if account["job_microjoules"] != energy:
        yield f"the job drew {energy} microjoules, and {account['job_microjoules']} in the node's account"
    if node is None:
        if energy is not None:
            yield "the job's energy is known and the node's is not"
        return
    if None in parts or min(parts) < 0 or sum(parts) != node:
        yield f"the accounts {parts} do not add up to the node's {node} microjoules"
    low, high = receipt["energy_low_microjoules"], receipt["energy_high_microjoules"]
    if not 0 <= low <= energy <= high:
        yield f"{energy} microjoules do not lie between {low} and {high}"


def _problems_of_time(receipt: Receipt) -> Iterator[str]:
    started, ended = (datetime.fromisoformat(receipt[name]) for name in ("started_at", "ended_at"))
    seconds = receipt["wall_seconds"]
    # Between two attempts the clock may have been set; within one nobody looks at it twice.
    longest = (ended - started).total_seconds() + _CLOCK_SECONDS
    if seconds < 0 or (receipt["attempts"] == 1 and seconds > longest):
        yield f"{seconds} metered seconds do not fit between {started} and {ended}"
    if receipt["cpu_seconds"] < 0 or receipt["unmetered_seconds_at_most"] < 0 or receipt["attempts"] < 1:
        yield "it has CPU seconds, unmetered seconds or attempts that nothing can have"
    if receipt["tier"] not in TIERS or (receipt["tier"] == "W5") != (receipt["energy_microjoules"] is None):
        yield f"the tier {receipt['tier']} does not belong to {receipt['energy_microjoules']} microjoules"
    last = 0
    for first, end in receipt["windows"]["ranges"]:
        if not last < first <= end:
            yield f"its windows {receipt['windows']['ranges']} are not in order"
        last = end


def _problems_of_within(receipt: Receipt) -> Iterator[str]:
    within = receipt["within"]
    if within is None:
        return
    inside, energy = within["energy_microjoules"], receipt["energy_microjoules"]
    if within["run"] != within["runs"][0] or receipt["run"] in within["runs"]:
        yield f"it lies within {within['runs']}, of which {within['run']} is not the nearest other"
    if energy is None or inside is None:
        if energy is not inside:
            yield "it lies within another by an energy that is not known"
    elif not 0 <= inside <= energy:
        yield f"{inside} of {energy} microjoules lie within {within['run']}"


def _hourly_energy(receipt: Receipt) -> HourlyEnergy | None:
    energy = receipt["energy_microjoules"]
    if energy is None:
        return None
    hours: dict[datetime, int] = {}
    for hour in receipt["carbon"]["hours"]:
        hours[datetime.fromisoformat(hour["hour"])] = hour["it_microjoules"]
    if (
        sum(hours.values()) != energy
        or min(hours.values()) < 0
        or len(hours) < len(receipt["carbon"]["hours"])
    ):
        raise ValueError(f"its hours add up to {sum(hours.values())} microjoules, not to {energy}")
    return HourlyEnergy(
        microjoules=hours,
        low_factor=receipt["energy_low_microjoules"] / energy if energy else 1.0,
        high_factor=receipt["energy_high_microjoules"] / energy if energy else 1.0,
    )


def _total(receipt: Receipt) -> EnergyTotal:
    """What the windows must have added up to, as far as the receipt tells."""
    account, windows, within = receipt["node_account"], receipt["windows"], receipt["within"]
    meter, core_seconds = _meter(receipt)
    return EnergyTotal(
        step=receipt["step"],
        num_attempts=receipt["attempts"],
        started_at=receipt["started_at"],
        ended_at=receipt["ended_at"],
        wall_seconds=receipt["wall_seconds"],
        core_seconds=core_seconds,
        cpu_seconds=receipt["cpu_seconds"],
        job_microjoules=receipt["energy_microjoules"],
        low_microjoules=receipt["energy_low_microjoules"],
        high_microjoules=receipt["energy_high_microjoules"],
        node_microjoules=account["node_microjoules"],
        other_jobs_microjoules=account["other_jobs_microjoules"],
        other_microjoules=account["other_microjoules"],
        unreserved_idle_microjoules=account["unreserved_idle_microjoules"],
        tier=receipt["tier"],
        meters=(meter,),
        num_windows=sum(end - first + 1 for first, end in windows["ranges"]),
        window_ranges=tuple((first, end) for first, end in windows["ranges"]),
        windows_sha256=windows["sha256"],
        unmetered_seconds_at_most=receipt["unmetered_seconds_at_most"],
        neighbours_microjoules=account["neighbours_microjoules"],
        within_runs=() if within is None else tuple(within["runs"]),
        within_microjoules=0 if within is None else within["energy_microjoules"],
        device_share=_share_of(receipt, WHOLE),
    )


def _share_of(receipt: Receipt, reserved_by: str) -> float:
    shares = [
        device["reserved_share"]
        for device in receipt["embodied"]["devices"]
        if device["reserved_by"] == reserved_by
    ]
    return float(shares[0]) if shares else 1.0


def _meter(receipt: Receipt) -> tuple[Row, float]:
    """A meter that would have led to the receipt, and the core-seconds that it gave to the job.

    The receipt names no cores, but two things that follow from them: the cost of machine time, and the
    share of the machine. Any number of cores that leads to the one must lead to the other.
    """
    cost, seconds = receipt["cost"], receipt["wall_seconds"]
    share, ask = _share_of(receipt, BY_CORES), cost["ask_microcredits_per_core_hour"]
    core_seconds = share * seconds
    if ask and core_seconds:
        # An amount of 0 was rounded down from some small one.
        core_seconds = (cost["machine_microcredits"] or 0.1) * _SECONDS_PER_HOUR / ask
    meter = {
        "processor": {"method": receipt["meter"], "scope": receipt["scope"]},
        "device": None,
        "unknown": receipt["unknown_parts"],
        "notes": receipt["meter_notes"],
        "cores": core_seconds / (share * seconds) if share * seconds else 1.0,
    }
    return meter, core_seconds
