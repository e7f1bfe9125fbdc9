import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ayni.workflows.compare_footprints import NothingToCompareError, compare_footprints
from ayni.workflows.footprint_references import FootprintNotFoundError

GOLDEN = Path(__file__).parent.parent / "footprint" / "golden" / "receipt_2.json"
JOULE = 1_000_000


def keep(home: Path, job: str, number: int, joules: float | None, **changes: Any) -> None:
    """A measurement of one receipt, whose interval is 0.5 to 2 times its energy."""
    body = copy.deepcopy(json.loads(GOLDEN.read_text()))
    energy = None if joules is None else round(joules * JOULE)
    body |= {
        "run": f"20260301-12{number:02d}00-{job}",
        "job": job,
        "energy_microjoules": energy,
        "energy_low_microjoules": None if energy is None else energy // 2,
        "energy_high_microjoules": None if energy is None else energy * 2,
        **changes,
    }
    folder = home / "footprint" / str(body["run"]) / "receipts"
    folder.mkdir(parents=True)
    (folder / "0001-run.json").write_text(json.dumps(body))


def fill(home: Path, job: str, joules: list[float | None], **changes: Any) -> None:
    for number, each in enumerate(joules):
        keep(home, job, number, each, **changes)


SMALL, LARGE = [100, 101, 99, 100.5, 99.5], [110, 111, 109, 110.5, 109.5]


def test_five_runs_of_each_on_one_meter_tell_what_their_meters_interval_hides(home: Path) -> None:
    fill(home, "small", SMALL)
    fill(home, "large", LARGE)

    found = compare_footprints("small", "large")

    assert found["comparison"]["answer"] == "less"
    assert found["comparison"]["ratio"] == pytest.approx(100 / 110, rel=1e-3)
    assert found["first"]["runs"] == 5
    assert found["first"]["joules"]["high"] == pytest.approx(200)


@pytest.mark.parametrize("changes", [{"node": "another"}, {"tier": "W1"}, {"meter": "another"}])
def test_runs_of_different_meters_are_compared_by_their_whole_intervals(
    home: Path, changes: dict[str, str]
) -> None:
    fill(home, "small", SMALL)
    fill(home, "large", LARGE, **changes)

    found = compare_footprints("small", "large")

    assert found["comparison"]["answer"] == "cannot tell"
    assert found["comparison"]["method"].startswith("whole intervals")


def test_fewer_than_five_runs_do_not_tell_how_they_repeat(home: Path) -> None:
    fill(home, "small", [100])
    fill(home, "large", [1000])

    found = compare_footprints("20260301-120000-small", "large")

    assert found["comparison"]["answer"] == "less"
    assert found["comparison"]["method"].startswith("whole intervals")


def test_runs_of_unknown_energy_are_left_out_and_named(home: Path) -> None:
    fill(home, "small", [*SMALL, None])
    fill(home, "large", LARGE)
    fill(home, "unknown", [None])

    assert compare_footprints("small", "large")["first"]["left_out"] == ["20260301-120500-small"]
    with pytest.raises(NothingToCompareError, match="known energy"):
        compare_footprints("small", "unknown")
    with pytest.raises(FootprintNotFoundError):
        compare_footprints("small", "nothing")
