import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import FORECAST, METERED

# As the data portal gives it in 2025, and before.
NEW = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),"
    "Carbon intensity gCO₂eq/kWh (Life cycle),Carbon-free energy percentage (CFE%),"
    "Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method\n"
)
OLD = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),"
    "Carbon Intensity gCO₂eq/kWh (LCA),Low Carbon Percentage,Renewable Percentage,Data Source,"
    "Data Estimated,Data Estimation Method\n"
)
ROWS = (
    "2024-01-01 00:00:00,Germany,Germany,DE,180.5,220.25,50,50,entsoe,false,\n"
    "2024-01-01 01:00:00,Germany,Germany,DE,,,50,50,entsoe,true,TIME_SLICER\n"
    "2024-01-01 02:00:00,Germany,Germany,DE,190,230,50,50,entsoe,true,TIME_SLICER\n"
)


def written(tmp_path: Path, content: str | dict[str, Any], name: str = "file.csv") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def answer(*grams: float | None, kind: str | None = "lifecycle", **others: Any) -> list[dict[str, Any]]:
    return [
        {
            "zone": "DE",
            "carbonIntensity": value,
            "datetime": f"2025-04-04T{index:02d}:00:00.000Z",
            "updatedAt": "2025-04-04T11:41:12.947Z",
            **({"emissionFactorType": kind} if kind else {}),
            "isEstimated": index == 0,
            "estimationMethod": None,
            **others,
        }
        for index, value in enumerate(grams)
    ]


@pytest.mark.parametrize("header", [NEW, OLD])
def test_the_portals_files_of_all_years_are_read(tmp_path: Path, header: str) -> None:
    series = read_intensity_file(written(tmp_path, header + ROWS))

    assert series.zone == "DE"
    assert series.basis.counting == "life-cycle"
    assert series.first_hour == datetime(2024, 1, 1, tzinfo=UTC)
    assert series.grams_co2e_per_kwh == (220.25, None, 230.0)
    assert series.notes == (
        "1 of 3 hours have no value",
        "2 of 3 values are estimates of the publisher",
    )


def test_the_direct_column_is_taken_when_asked_for(tmp_path: Path) -> None:
    series = read_intensity_file(written(tmp_path, NEW + ROWS), counting="direct")

    assert str(series.basis) == "average, location-based, direct"
    assert series.grams_co2e_per_kwh == (180.5, None, 190.0)


def test_of_several_zones_one_must_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, NEW + ROWS + ROWS.replace(",DE,", ",FR,").replace("220.25", "40"))

    assert read_intensity_file(path, zone="fr").grams_co2e_per_kwh[0] == 40
    with pytest.raises(GridFileError, match="2 zones, DE, FR; choose one"):
        read_intensity_file(path)
    with pytest.raises(GridFileError, match="no hour of the zone 'ES'"):
        read_intensity_file(path, zone="ES")


def test_a_file_of_days_is_refused(tmp_path: Path) -> None:
    daily = NEW + ROWS.replace("01 01:", "02 00:").replace("01 02:", "03 00:")

    with pytest.raises(GridFileError, match="not hourly or finer"):
        read_intensity_file(written(tmp_path, daily))


@pytest.mark.parametrize("name", ["history", "data"])
def test_an_answer_of_the_api_is_read(tmp_path: Path, name: str) -> None:
    data = {"zone": "DE", name: answer(300, None, 310)}

    series = read_intensity_file(written(tmp_path, data))

    assert (series.zone, series.link) == ("DE", METERED)
    assert series.grams_co2e_per_kwh == (300.0, None, 310.0)
    assert "1 of 3 values are estimates of the publisher" in series.notes


def test_the_latest_hour_alone_is_a_series_of_one(tmp_path: Path) -> None:
    (entry,) = answer(284, kind="direct")

    series = read_intensity_file(written(tmp_path, entry))

    assert series.grams_co2e_per_kwh == (284.0,)
    assert series.basis.counting == "direct"


def test_a_forecast_is_no_metered_hour_and_less_sure(tmp_path: Path) -> None:
    data = {"zone": "DE", "forecast": [{"carbonIntensity": 326, "datetime": "2025-04-04T00:00:00.000Z"}]}

    series = read_intensity_file(written(tmp_path, data))

    assert series.link == FORECAST
    assert series.high_factor / series.low_factor > 2


def test_five_minutes_are_averaged_into_hours(tmp_path: Path) -> None:
    entries = [
        {"carbonIntensity": index, "datetime": f"2025-04-04T{index // 12:02d}:{index % 12 * 5:02d}:00.000Z"}
        for index in range(24)
    ]

    series = read_intensity_file(written(tmp_path, {"zone": "DE", "data": entries}))

    assert series.grams_co2e_per_kwh == (5.5, 17.5)


def test_another_zone_or_counting_than_asked_for_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"zone": "DE", "data": answer(300)})
    mixed = written(tmp_path, {"zone": "DE", "data": answer(1) + answer(2, kind="direct")}, "mixed.json")

    with pytest.raises(GridFileError, match="of the zone DE, not FR"):
        read_intensity_file(path, zone="FR")
    with pytest.raises(GridFileError, match="are life-cycle, not direct"):
        read_intensity_file(path, counting="direct")
    with pytest.raises(GridFileError, match="direct and life-cycle"):
        read_intensity_file(mixed)
