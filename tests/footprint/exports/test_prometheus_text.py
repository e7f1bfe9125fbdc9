import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.exports.prometheus_text import RepeatedSeriesError, prometheus_text
from ayni.footprint.sums.entries import FootprintEntry, entry_of_receipt

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)
NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
QUOTED = r'"(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})\{{((?:{LABEL}={QUOTED},?)*)\}} (\S+)")


def samples(*entries: FootprintEntry) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Read the text by the grammar of the exposition format; a line that does not fit is an error."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    text = prometheus_text(entries)
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            kind, name, _ = line[2:].split(" ", 2)
            assert kind in ("HELP", "TYPE") and (kind == "TYPE") == (name in found)
            found.setdefault(name, [])
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        labels = {
            key: re.sub(r'\\([\\"n])', lambda m: "\n" if m[1] == "n" else m[1], value[1:-1])
            for key, value in re.findall(rf"({LABEL})=({QUOTED})", match[2])
        }
        assert match[1] == list(found)[-1], "samples stand below their own TYPE"
        found[match[1]].append((labels, float(match[3])))
    return found


def test_energy_is_in_joules_and_carbon_in_grams() -> None:
    found = samples(ENTRY)

    ((labels, joules),) = found["ayni_footprint_energy_joules"]
    assert joules == 3_600_000.0
    assert labels == {
        "run": "20260301-120000-000-digits",
        "job": "digits",
        "step": "train",
        "member": "lab-a",
        "site": "own",
        "node": "node-1",
        "tier": "W3",
    }
    assert found["ayni_footprint_facility_energy_joules"][0][1] == 4_320_000.0
    ((labels, grams),) = found["ayni_footprint_co2e_grams"]
    assert (grams, labels["basis"], labels["zone"]) == (480.0, "average, location-based, life-cycle", "DE")
    assert found["ayni_footprint_electricity_cost_credits"][0][1] == 0.36


def test_the_ends_of_intervals_are_metrics_of_their_own() -> None:
    found = samples(ENTRY)

    assert [found[f"ayni_footprint_energy_{end}_joules"][0][1] for end in ("low", "high")] == [1.8e6, 7.2e6]
    assert [found[f"ayni_footprint_co2e_{end}_grams"][0][1] for end in ("low", "high")] == [240.0, 960.0]


def test_what_is_unknown_has_no_sample_and_is_said_to_be_unknown() -> None:
    found = samples(
        ENTRY, replace(ENTRY, step="explain", energy=None, facility_microjoules=None, carbon=None)
    )

    assert len(found["ayni_footprint_energy_joules"]) == len(found["ayni_footprint_co2e_grams"]) == 1
    ((labels, value),) = found["ayni_footprint_unknown"]
    assert (labels["step"], labels["figures"], value) == ("explain", "energy carbon", 1.0)


def test_a_metric_without_samples_is_left_out() -> None:
    assert "ayni_footprint_unknown" not in samples(ENTRY)
    assert "ayni_footprint_on_site_water_litres" not in samples(replace(ENTRY, on_site_litres=None))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_name_survives_as_a_label(name: str) -> None:
    ((labels, _),) = samples(replace(ENTRY, job=name))["ayni_footprint_wall_seconds"]

    assert labels["job"] == name


def test_half_a_character_does_not_break_the_file() -> None:
    ((labels, _),) = samples(replace(ENTRY, job="a\ud800b"))["ayni_footprint_wall_seconds"]

    assert labels["job"] == "a?b"


def test_one_receipt_twice_would_be_two_series_of_one_name_and_is_refused() -> None:
    with pytest.raises(RepeatedSeriesError, match="two receipts of the step train"):
        prometheus_text([ENTRY, ENTRY])


def test_negative_costs_are_samples_like_others() -> None:
    found = samples(replace(ENTRY, electricity_microcredits=-1_500_000))

    assert found["ayni_footprint_electricity_cost_credits"][0][1] == -1.5
