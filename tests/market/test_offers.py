import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from ayni.market.machine_classes import MachineClass
from ayni.market.offers import (
    LARGEST_ASK,
    InvalidDurationError,
    InvalidOfferError,
    Limits,
    Offer,
    OverlappingOffersError,
    check_offers,
    parse_duration,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GPU = MachineClass(
    name="v100",
    cores=8,
    memory_bytes=64 << 30,
    accelerator="V100",
    watts=300.0,
    reference_throughput={"any": 1.0},
)


def offer(**changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": "o1",
        "site": "lab",
        "member": "uni",
        "machine_class": GPU,
        "count": 2,
        "windows": ((NOON, NOON + 8 * HOUR),),
        "ask_microcredits_per_machine_hour": 500_000,
        "zone": "DE",
        "pue": 1.2,
    }
    return Offer(**values | changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 1.5}, "count"),
        ({"machine_ids": ("a",)}, "machine_ids"),
        ({"machine_ids": ("a", "a")}, "machine_ids"),
        ({"ask_microcredits_per_machine_hour": -1}, "ask"),
        ({"ask_microcredits_per_machine_hour": 0.5}, "ask"),
        ({"ask_microcredits_per_machine_hour": LARGEST_ASK + 1}, "ask"),
        ({"pue": 0.9}, "pue"),
        ({"pue": float("nan")}, "pue"),
        ({"reliability": 0.0}, "reliability"),
        ({"reliability": 1.01}, "reliability"),
        ({"source": "cloud:"}, "source"),
        ({"source": "somewhere"}, "source"),
        ({"windows": ()}, "windows"),
        ({"windows": ((NOON, NOON),)}, "windows"),
        ({"windows": ((NOON, NOON + HOUR), (NOON, NOON + HOUR))}, "windows"),
        ({"windows": ((NOON.replace(tzinfo=None), NOON + HOUR),)}, "windows"),
        ({"site": ""}, "site"),
    ],
)
def test_an_impossible_or_absurd_offer_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOfferError) as caught:
        offer(**changes)

    assert caught.value.field == field
    assert "Nothing was offered" in str(caught.value)


def test_a_window_over_a_change_of_clocks_has_its_true_length() -> None:
    # Berlin, 29 March 2026: the clock jumps from 02:00 (UTC+1) to 03:00 (UTC+2).
    before, after = timezone(HOUR), timezone(2 * HOUR)
    window = (datetime(2026, 3, 29, 1, tzinfo=before), datetime(2026, 3, 29, 4, tzinfo=after))

    [(start, end)] = offer(windows=(window,)).windows

    assert end - start == 2 * HOUR
    assert start.tzinfo is UTC


def test_one_machine_cannot_be_offered_twice_at_the_same_time() -> None:
    second = offer(id="o2", windows=((NOON + 7 * HOUR, NOON + 9 * HOUR),))

    with pytest.raises(OverlappingOffersError, match="'o1' and 'o2'"):
        check_offers([offer(), second])


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": ((NOON + 8 * HOUR, NOON + 9 * HOUR),)},
        {"site": "other"},
        {"machine_class": MachineClass.from_json(GPU.to_json() | {"name": "k80"})},
    ],
)
def test_offers_of_different_machines_or_times_do_not_overlap(changes: dict[str, Any]) -> None:
    check_offers([offer(), offer(id="o2", **changes)])


def test_named_machines_overlap_only_where_a_name_is_the_same() -> None:
    first = offer(machine_ids=("a", "b"))

    check_offers([first, offer(id="o2", machine_ids=("c", "d"))])
    with pytest.raises(OverlappingOffersError):
        check_offers([first, offer(id="o2", machine_ids=("b", "c"))])


def test_an_offers_id_is_its_own() -> None:
    with pytest.raises(InvalidOfferError, match="another offer"):
        check_offers([offer(), offer(site="other")])


def test_an_offer_survives_json() -> None:
    cloud = offer(source="cloud:gcp", dated=date(2026, 7, 1), machine_ids=("a", "b"))

    assert Offer.from_json(json.loads(json.dumps(cloud.to_json()))) == cloud
    assert cloud.is_cloud and not offer().is_cloud


def test_limits_survive_json() -> None:
    limits = Limits(credits=5, carbon_grams=20.5)

    assert Limits.from_json(json.loads(json.dumps(limits.to_json()))) == limits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15 min", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d 2h", 93_600),
        ("45", 45),
        (" 2H ", 7200),
        (60, 60),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "2x", "2 hours", "-1h", "0", "0h", "1h30", "1:30", "nan", "inf", "2h!", "1e3s"]
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("value", [True, None, [], float("nan"), float("inf"), 0, -5])
def test_a_duration_of_another_type_or_without_length_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDurationError):
        parse_duration(value)


def test_an_invalid_duration_is_a_value_error_for_validators_and_the_users_mistake() -> None:
    assert issubclass(InvalidDurationError, ValueError)
    assert InvalidDurationError("x").exit_code == 2


@pytest.mark.parametrize(
    "changes", [{"credits": -1}, {"energy_kwh": float("nan")}, {"deadline_seconds": float("inf")}]
)
def test_a_limit_is_a_number_that_is_not_negative(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"limits.{next(iter(changes))}"):
        Limits(**changes)
