import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import FORECAST, METERED

HISTORIC = (
    "DATETIME,GAS,COAL,NUCLEAR,WIND,WIND_EMB,HYDRO,IMPORTS,BIOMASS,OTHER,SOLAR,STORAGE,GENERATION,"
    "CARBON_INTENSITY,LOW_CARBON,ZERO_CARBON,RENEWABLE,FOSSIL,GAS_perc\n"
    "2009-06-01T05:00:00,12345,8000,6500,500,0,300,1000,0,200,0,0,28845,480,7300,7300,800,20345,42.8\n"
    "2009-06-01T05:30:00,12400,7950,6500,520,0,310,1000,0,200,0,0,28880,478,7330,7330,830,20350,42.9\n"
    "2009-06-01 06:00:00+00,12400,7950,6500,520,0,310,1000,0,200,0,0,28880,470,7330,7330,830,20350,42.9\n"
)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "file"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def half_hours(*pairs: tuple[int | None, int | None]) -> list[dict[str, Any]]:
    return [
        {
            "from": f"2018-01-20T{12 + index // 2}:{index % 2 * 30:02d}Z",
            "to": f"2018-01-20T{12 + (index + 1) // 2}:{(index + 1) % 2 * 30:02d}Z",
            "intensity": {"forecast": forecast, "actual": actual, "index": "moderate"},
        }
        for index, (forecast, actual) in enumerate(pairs)
    ]


def test_the_historic_mix_is_read_in_direct_grams(tmp_path: Path) -> None:
    series = read_intensity_file(written(tmp_path, HISTORIC))

    assert (series.zone, series.link) == ("GB", METERED)
    assert str(series.basis) == "average, location-based, direct"
    assert series.first_hour == datetime(2009, 6, 1, 5, tzinfo=UTC)
    assert series.grams_co2e_per_kwh == (479.0, 470.0)


def test_what_was_counts_and_not_what_had_been_forecast(tmp_path: Path) -> None:
    series = read_intensity_file(
        written(tmp_path, {"data": half_hours((266, 263), (250, 255), (260, None), (261, None))})
    )

    assert series.link == METERED
    assert series.grams_co2e_per_kwh == (259.0, None)


def test_forecasts_alone_are_a_forecast(tmp_path: Path) -> None:
    rows = (
        "datetime,forecast,actual,index\n2024-01-15T00:00Z,245,,moderate\n2024-01-15T00:30Z,251,,moderate\n"
    )

    series = read_intensity_file(written(tmp_path, rows))

    assert series.link == FORECAST
    assert series.grams_co2e_per_kwh == (248.0,)


@pytest.mark.parametrize("as_list", [True, False])
def test_a_region_is_a_zone_of_its_own(tmp_path: Path, as_list: bool) -> None:
    region = {
        "regionid": 12,
        "shortname": "South England",
        "postcode": "RG41",
        "data": half_hours((220, None)),
    }

    series = read_intensity_file(written(tmp_path, {"data": [region] if as_list else region}))

    assert series.zone == "GB-South England"
    assert series.grams_co2e_per_kwh == (220.0,)


def test_life_cycle_figures_are_not_published_there(tmp_path: Path) -> None:
    with pytest.raises(GridFileError, match="are direct, not life-cycle"):
        read_intensity_file(written(tmp_path, HISTORIC), counting="life-cycle")


def test_a_broken_cell_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(GridFileError, match=r"line 3: 'broken' is not a number"):
        read_intensity_file(written(tmp_path, HISTORIC.replace(",478,", ",broken,")))
