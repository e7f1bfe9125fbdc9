"""One line of a footprint: a receipt, or a row of another tool, in the form that sums and reports need.

A receipt stays what it is, a signed file; an entry is read from it and holds the figures with their units,
intervals, tier and basis. A row of another tool is told apart by its `origin`, and the two are never
added up.

Not covered: whether a receipt is signed and true to its windows (`verification`).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ayni.errors import UserError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.receipts.receipt import SCHEMA, DamagedReceiptError, Receipt
from ayni.footprint.sums.amounts import Amount

Origin = Literal["receipt", "third-party"]
RECEIPT: Origin = "receipt"
THIRD_PARTY: Origin = "third-party"


class EarlierReceiptError(UserError):
    """A receipt has a form that this version does not add up."""

    def __init__(self, path: Path, schema: object) -> None:
        self.path = path
        self.schema = schema
        super().__init__(
            f"{path} has the schema {schema!r}, and this version adds up receipts of {SCHEMA!r}. "
            "Read it with the version of Ayni that wrote it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintEntry:
    """What one step drew, emitted and cost. None is unknown; times are in UTC.

    Attributes:
        model: the repository that the run published.
        energy: IT energy in integer microjoules; `facility_microjoules` is that times PUE.
        carbon: operational grams of CO2e, counted on `basis` (None where nobody says what was counted).
        embodied: grams of CO2e of making the machines, `devices` says which.
        node_account: where the energy of the node went meanwhile, in microjoules.
        within: the runs that were metered around this one, nearest first.
        within_microjoules: how much of the energy they count as well; None is all of it.
        source: the file that it was read from, relative to its measurement.
    """

    run: str
    job: str
    step: str
    member: str
    site: str
    node: str
    started_at: datetime
    ended_at: datetime
    wall_seconds: float
    tier: str
    energy: Amount | None
    facility_microjoules: int | None
    carbon: Amount | None
    basis: str | None
    zone: str
    pue: float
    cpu_seconds: float | None = None
    meter: str = ""
    scope: str = ""
    unknown_parts: tuple[str, ...] = ()
    grid_source: str = ""
    worst_link: str | None = None
    facility_microjoules_by_link: Mapping[str, int] = field(default_factory=dict)
    grams_co2e_per_kwh: float | None = None
    embodied: Amount | None = None
    devices: tuple[Mapping[str, Any], ...] = ()
    on_site_litres: Amount | None = None
    off_site_litres: Amount | None = None
    water_zone: str = ""
    wue_litres_per_kwh: float | None = None
    electricity_microcredits: int | None = None
    machine_microcredits: int = 0
    tariff: str = ""
    unit: FunctionalUnit | None = None
    node_account: Mapping[str, int] | None = None
    unmetered_seconds_at_most: float = 0.0
    within: tuple[str, ...] = ()
    within_microjoules: int | None = None
    model: str | None = None
    origin: Origin = RECEIPT
    source: str = ""
    hash: str | None = None
    public_key: str | None = None

    @property
    def month(self) -> str:
        """The month of UTC in which it began, as 2026-03."""
        return f"{self.started_at:%Y-%m}"

    @property
    def energy_errors(self) -> tuple[Hashable, ...]:
        """What others share the error of the energy with: one kind of meter on one model of hardware."""
        return (("meter", self.tier, self.meter),)

    @property
    def carbon_errors(self) -> tuple[Hashable, ...]:
        """The meter, and the source that knows the grid."""
        return (*self.energy_errors, ("grid", self.zone, self.grid_source))

    @property
    def embodied_errors(self) -> tuple[Hashable, ...]:
        """The methods that say what is embodied in the devices."""
        return tuple(("device", device["name"], device["method"]) for device in self.devices)


def entry_of_receipt(receipt: Receipt, path: Path) -> FootprintEntry:
    """The figures of a receipt; `path` is named in errors.

    Raises:
        EarlierReceiptError: another version of Ayni wrote it.
        DamagedReceiptError: it lacks its form.
    """
    if receipt.get("schema") != SCHEMA:
        raise EarlierReceiptError(path, receipt.get("schema"))
    try:
        return FootprintEntry(
            **_subject(receipt),
            **_energy(receipt),
            **_carbon(receipt["carbon"]),
            **_embodied(receipt["embodied"]),
            **_water(receipt["water"]),
            **_cost(receipt["cost"]),
            unit=_unit(receipt["functional_unit"]),
            node_account=_node_account(receipt["node_account"]),
            unmetered_seconds_at_most=float(receipt["unmetered_seconds_at_most"]),
            source=path.name,
            hash=receipt["hash"],
            public_key=receipt["public_key"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedReceiptError(path) from error


def moment(text: str) -> datetime:
    """A time of ISO 8601 with its zone, in UTC.

    Raises:
        ValueError: not a time, or one without a zone.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} does not say its time zone")
    return parsed.astimezone(UTC)


def without_nested(entries: Iterable[FootprintEntry]) -> tuple[list[FootprintEntry], list[FootprintEntry]]:
    """Entries to add up, and those that lie within another run among them, whose energy holds theirs.

    Of one that lies only partly within, the rest is added up. One whose outer run is not here is added up
    as it is: else its energy would be nowhere.
    """
    given = list(entries)
    there = {entry.run for entry in given}
    counted, nested = [], []
    for entry in given:
        if not there & set(entry.within):
            counted.append(entry)
        elif (rest := _outside(entry)) is None:
            nested.append(entry)
        else:
            counted.append(rest)
    return counted, nested


def _outside(entry: FootprintEntry) -> FootprintEntry | None:
    """What of an entry no outer meter counted, all figures in proportion to the energy; None for nothing."""
    if entry.energy is None or entry.within_microjoules is None:
        return None
    rest = round(entry.energy.value) - entry.within_microjoules
    if rest <= 0:
        return None
    share = rest / entry.energy.value
    links = entry.facility_microjoules_by_link
    return replace(
        entry,
        energy=_scaled_to(rest, entry.energy),
        facility_microjoules=_part(entry.facility_microjoules, share),
        facility_microjoules_by_link={link: round(energy * share) for link, energy in links.items()},
        carbon=_times(entry.carbon, share),
        embodied=_times(entry.embodied, share),
        on_site_litres=_times(entry.on_site_litres, share),
        off_site_litres=_times(entry.off_site_litres, share),
        electricity_microcredits=_part(entry.electricity_microcredits, share),
        machine_microcredits=round(entry.machine_microcredits * share),
    )


def _scaled_to(value: int, whole: Amount) -> Amount:
    """An energy with the interval of the whole in proportion, whose ends stay around it when rounded."""
    if whole.low is None or whole.high is None:
        return Amount(value=value)
    share = value / whole.value
    low, high = round(whole.low * share), round(whole.high * share)
    return Amount(value=value, low=min(value, low), high=max(value, high))


def _part(whole: int | None, share: float) -> int | None:
    return None if whole is None else round(whole * share)


def _times(amount: Amount | None, share: float) -> Amount | None:
    return None if amount is None else amount.times(share)


def _subject(receipt: Receipt) -> dict[str, Any]:
    return {
        **{name: str(receipt[name]) for name in ("run", "job", "step", "member", "site", "node")},
        "started_at": moment(receipt["started_at"]),
        "ended_at": moment(receipt["ended_at"]),
        "wall_seconds": float(receipt["wall_seconds"]),
        "cpu_seconds": float(receipt["cpu_seconds"]),
        **_within(receipt["within"]),
    }


def _within(data: Mapping[str, Any] | None) -> dict[str, Any]:
    if data is None:
        return {}
    runs = data.get("runs") or [data["run"]]
    return {
        "within": tuple(map(str, runs)),
        "within_microjoules": _whole(data.get("energy_microjoules")),
    }


def _energy(receipt: Receipt) -> dict[str, Any]:
    value = _whole(receipt["energy_microjoules"])
    low, high = _whole(receipt["energy_low_microjoules"]), _whole(receipt["energy_high_microjoules"])
    return {
        "energy": None if value is None else Amount(value=value, low=low, high=high),
        "facility_microjoules": _whole(receipt["facility_energy_microjoules"]),
        "tier": str(receipt["tier"]),
        "meter": str(receipt["meter"]),
        "scope": str(receipt["scope"]),
        "unknown_parts": tuple(map(str, receipt["unknown_parts"])),
        "pue": float(receipt["pue"]),
    }


def _carbon(carbon: Mapping[str, Any]) -> dict[str, Any]:
    grams, low, high = (carbon[f"{end}grams_co2e"] for end in ("", "low_", "high_"))
    by_link = carbon.get("facility_microjoules_by_link") or {}
    return {
        "carbon": None if grams is None else Amount(value=float(grams), low=float(low), high=float(high)),
        "basis": str(carbon["basis"]),
        "zone": str(carbon["zone"]),
        "grid_source": str(carbon["source"]),
        "worst_link": carbon.get("worst_link"),
        "facility_microjoules_by_link": {str(link): int(energy) for link, energy in by_link.items()},
        "grams_co2e_per_kwh": carbon.get("grams_co2e_per_kwh"),
    }


def _embodied(embodied: Mapping[str, Any] | None) -> dict[str, Any]:
    if embodied is None:
        return {}
    grams, low, high = (embodied[f"{end}grams_co2e"] for end in ("", "low_", "high_"))
    return {
        "embodied": None if grams is None else Amount(value=float(grams), low=float(low), high=float(high)),
        "devices": tuple(dict(device) for device in embodied["devices"]),
    }


def _water(water: Mapping[str, Any] | None) -> dict[str, Any]:
    if water is None:
        return {}
    return {
        "on_site_litres": Amount.of_json(water["on_site_litres"]),
        "off_site_litres": Amount.of_json(water["off_site_litres"]),
        "water_zone": str(water["zone"]),
        "wue_litres_per_kwh": water.get("wue_litres_per_kwh"),
    }


def _cost(cost: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "electricity_microcredits": _whole(cost["electricity_microcredits"]),
        "machine_microcredits": int(cost["machine_microcredits"]),
        "tariff": str(cost.get("tariff") or ""),
    }


def _unit(data: Mapping[str, Any] | None) -> FunctionalUnit | None:
    return None if data is None else FunctionalUnit(name=data["name"], count=float(data["count"]))


def _node_account(data: Mapping[str, Any]) -> dict[str, int] | None:
    if any(not isinstance(value, int) for value in data.values()):
        return None
    return dict(data)


def _whole(value: Any) -> int | None:
    """An integer as it is, null as None; anything else is no whole number of anything."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{value!r} is not a whole number")
    return value
