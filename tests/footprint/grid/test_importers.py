import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import kind_of_file, read_hourly_prices, read_intensity_file

SHARED = Path(__file__).parents[4] / "shared" / "data" / "carbon"


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "grid.csv"
    path.write_text(content)
    return path


def test_a_plain_table_is_read_once_it_is_said_what_it_counts(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "datetime_utc,DE-LU,FR\n2023-01-01 00:00,140.2,41.9\n2023-01-01 02:00,130,\n2023-01-01 03:00,,\n",
    )

    series = read_intensity_file(path, zone="DE-LU", counting="direct")

    assert series.grams_co2e_per_kwh == (140.2, None, 130.0, None)
    assert series.basis.counting == "direct"
    assert series.source == "file grid.csv"
    assert series.notes == ("2 of 4 hours have no value",)
    with pytest.raises(GridFileError, match="Say life-cycle or direct"):
        read_intensity_file(path, zone="DE-LU")


def test_a_zone_that_is_not_there_is_told_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "utc,US-CAL-CISO,US-TEX-ERCO\n2023-01-01 00:00,1,2\n")

    with pytest.raises(GridFileError, match="no zone 'US-CA-CISO'; there are 2, such as US-CAL-CISO"):
        read_intensity_file(path, zone="US-CA-CISO", counting="direct")
    with pytest.raises(GridFileError, match="no zone was chosen"):
        read_intensity_file(path, counting="direct")


def test_other_units_and_local_times_are_converted(tmp_path: Path) -> None:
    path = written(tmp_path, "time;CA\n2023-07-01 00:00;1000\n")

    series = read_intensity_file(path, counting="direct", unit="lb/MWh", time_zone="America/Los_Angeles")

    assert series.grams_co2e_per_kwh == (pytest.approx(453.59237),)
    assert series.first_hour == datetime(2023, 7, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no rows"),
        ("{", "is not JSON"),
        ("[1, 2]", "neither an answer"),
        ('{"data": []}', "neither an answer"),
        ("utc,DE\n2023-01-01 00:00,1\n2023-01-01 00:00,2\n", "line 3: .* has 2.0 here and 1.0 before"),
        ("utc,DE\n2023-01-01,1\n2023-01-02,2\n", "not hourly"),
        ("utc,DE\n2023-01-01 00:00,-5\n", "line 2: -5 g/kWh is no carbon intensity"),
        ("time,DE\n2023-01-01 00:00,5\n", "line 2: .* does not say its time zone"),
        ("utc,DE\n0023-01-01 00:00,5\n", "line 2: .* is not a time of an electricity grid"),
        ('{"data": [1]}', "neither an answer"),
        ('{"data": [{"from": "2023-01-01T00:00Z", "intensity": 5}]}', "neither an answer"),
    ],
)
def test_other_content_is_an_error_that_says_why(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(GridFileError, match=reason):
        read_intensity_file(written(tmp_path, content), zone="DE", counting="direct")


@pytest.mark.parametrize(
    ("content", "name", "zones", "states_basis"),
    [
        ("utc,DE,FR\n2023-01-01 00:00,1,2\n", "plain table", ("DE", "FR"), False),
        (
            "Datetime (UTC),Zone id,Carbon intensity gCO2eq/kWh (direct)\n2025-01-01 00:00,DE,1\n",
            "CSV of the data portal of Electricity Maps",
            ("DE",),
            True,
        ),
        (
            '"MTU (CET/CEST)","Area","Production Type","Generation (MW)"\n'
            '"01.01.2025 00:00 - 01.01.2025 01:00","BZN|DE-LU","Solar","1"\n',
            "CSV of ENTSO-E, generation by type",
            ("DE-LU",),
            True,
        ),
        ("datetime,forecast,actual,index\n2025-01-01T00:00,1,2,low\n", "CSV of NESO", ("GB",), True),
        (
            '{"zone": "DE", "history": [{"datetime": "2025-01-01T00:00Z", "carbonIntensity": 1}]}',
            "JSON of the API of Electricity Maps",
            ("DE",),
            True,
        ),
        ("<GL_MarketDocument/>", "XML of ENTSO-E", (), True),
    ],
)
def test_a_file_is_known_by_its_form(
    tmp_path: Path, content: str, name: str, zones: tuple[str, ...], states_basis: bool
) -> None:
    kind = kind_of_file(written(tmp_path, content))

    assert kind.name.startswith(name)
    assert (kind.zones, kind.states_basis) == (zones, states_basis)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<html>", "is XML"),
        ("{}", "is JSON, and neither"),
        ("", "no rows"),
        ("zone,2020\nAT,190\n", "line 2: 'AT' is not a time"),
    ],
)
def test_a_file_of_no_known_form_is_an_error(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(GridFileError, match=reason):
        kind_of_file(written(tmp_path, content))


def test_prices_may_be_negative(tmp_path: Path) -> None:
    path = written(
        tmp_path, "datetime_utc,DE\n2023-01-01 00:00,-30.62\n2023-01-01 01:00,\n2023-01-01 02:00,5\n"
    )

    assert read_hourly_prices(path) == (datetime(2023, 1, 1, tzinfo=UTC), (-30.62, None, 5.0))


@pytest.mark.skipif(not SHARED.exists(), reason="the hourly data are not here")
def test_a_year_of_real_hours_is_read_whole() -> None:
    series = read_intensity_file(SHARED / "ci_lca_2023_hourly_utc.csv", zone="ES", counting="life-cycle")
    _, prices = read_hourly_prices(SHARED / "electricity_price_usd_mwh_2023_hourly_utc.csv", zone="DE-LU")

    assert len(series.grams_co2e_per_kwh) == len(prices) == 8760
    assert series.num_holes == 0
    assert min(price for price in prices if price is not None) < 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats() | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "zone",
                    "data",
                    "history",
                    "forecast",
                    "carbonIntensity",
                    "datetime",
                    "from",
                    "intensity",
                    "regionid",
                ]
            ),
            inside,
            max_size=5,
        )
    ),
    max_leaves=12,
)
HEADERS = st.sampled_from(
    [
        "MTU (CET/CEST),Area,Production Type,Generation (MW)",
        "Area,MTU,Fossil Gas  - Actual Aggregated [MW],Solar  - Actual Aggregated [MW]",
        "Datetime (UTC),Zone id,Carbon intensity gCO2eq/kWh (direct),Carbon intensity gCO2eq/kWh (LCA)",
        "datetime,forecast,actual,index",
        "DATETIME,GAS,CARBON_INTENSITY,LOW_CARBON",
        "utc,DE,FR,ES",
    ]
)
TIMES = ["2023-01-01 00:00", "01.01.2023 00:00 - 01.01.2023 01:00 (CET)", "29/10/2023 02:00:00 (CET) - x"]
CELLS = st.sampled_from(
    [*TIMES, "9999-12-31 23:59", "0001-01-01", "DE", "Solar", "n/e", "5", "-7", "1e400", "", '"', "\u00e9"]
)


@given(value=JSON)
def test_any_json_is_a_series_or_an_error_that_says_why(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps(value))

    with contextlib.suppress(GridFileError):
        assert read_intensity_file(path, zone="DE").zone


@given(
    header=HEADERS,
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=5),
    zone=st.sampled_from([None, "DE"]),
)
def test_any_table_is_a_series_or_an_error_that_says_why(
    header: str, rows: list[list[str]], zone: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]))

    for counting in (None, "life-cycle", "direct"):
        with contextlib.suppress(GridFileError):
            assert read_intensity_file(path, zone=zone, counting=counting).grams_co2e_per_kwh  # type: ignore[arg-type]
