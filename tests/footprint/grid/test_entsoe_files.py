from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import read_intensity_file

WIDE_HEADER = (
    '"Area","MTU","Fossil Gas  - Actual Aggregated [MW]","Hydro Pumped Storage  - Actual Aggregated [MW]",'
    '"Hydro Pumped Storage  - Actual Consumption [MW]","Marine  - Actual Aggregated [MW]",'
    '"Nuclear  - Actual Aggregated [MW]"\n'
)
LONG_HEADER = '"MTU (CET/CEST)","Area","Production Type","Generation (MW)"\n'
GAS, NUCLEAR = 490.0, 12.0
XML = """<?xml version="1.0" encoding="UTF-8"?>
<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationload:3:0">
  <TimeSeries><inBiddingZone_Domain.mRID codingScheme="A01">10YNL----------L</inBiddingZone_Domain.mRID>
    <curveType>{curve}</curveType><MktPSRType><psrType>B04</psrType></MktPSRType>
    <Period><timeInterval><start>2021-03-11T07:00Z</start><end>2021-03-11T09:00Z</end></timeInterval>
      <resolution>PT60M</resolution>
      <Point><position>1</position><quantity>300</quantity></Point></Period></TimeSeries>
  <TimeSeries><inBiddingZone_Domain.mRID codingScheme="A01">10YNL----------L</inBiddingZone_Domain.mRID>
    <curveType>{curve}</curveType><MktPSRType><psrType>B14</psrType></MktPSRType>
    <Period><timeInterval><start>2021-03-11T07:00Z</start><end>2021-03-11T09:00Z</end></timeInterval>
      <resolution>PT60M</resolution>
      <Point><position>1</position><quantity>100</quantity></Point>
      <Point><position>2</position><quantity>100</quantity></Point></Period></TimeSeries>
  <TimeSeries><outBiddingZone_Domain.mRID codingScheme="A01">10YNL----------L</outBiddingZone_Domain.mRID>
    <curveType>{curve}</curveType><MktPSRType><psrType>B10</psrType></MktPSRType>
    <Period><timeInterval><start>2021-03-11T07:00Z</start><end>2021-03-11T09:00Z</end></timeInterval>
      <resolution>PT60M</resolution>
      <Point><position>1</position><quantity>999</quantity></Point></Period></TimeSeries>
</GL_MarketDocument>
"""


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "generation"
    path.write_text(content)
    return path


def test_a_column_a_type_is_read_with_pumps_left_out(tmp_path: Path) -> None:
    rows = (
        '"Germany (DE)","01.01.2020 00:00 - 01.01.2020 00:30 (UTC)","300","50","900","n/e","100"\n'
        '"Germany (DE)","01.01.2020 00:30 - 01.01.2020 01:00 (UTC)","100","50","-","n/e","100"\n'
    )

    series = read_intensity_file(written(tmp_path, WIDE_HEADER + rows))

    assert series.zone == "DE"
    assert series.first_hour == datetime(2020, 1, 1, tzinfo=UTC)
    assert series.grams_co2e_per_kwh == (pytest.approx(((3 * GAS + NUCLEAR) / 4 + (GAS + NUCLEAR) / 2) / 2),)
    assert series.high_factor > 1.19


def test_the_night_of_25_hours_has_25(tmp_path: Path) -> None:
    # Given the website's rows of 29 October 2023: local time, marks in the doubled hour
    times = [f"29/10/2023 {hour:02d}:00:00 - 29/10/2023 {hour + 1:02d}:00:00" for hour in range(23)]
    times += ["29/10/2023 23:00:00 - 30/10/2023 00:00:00"]
    doubled = "29/10/2023 02:00:00 {0} - 29/10/2023 {1}:00:00 {2}"
    times[2:3] = [doubled.format("(CEST)", "02", "(CET)"), doubled.format("(CET)", "03", "(CET)")]
    rows = "".join(f'"{time}","BZN|DE-LU","Fossil Gas","{index + 1}"\n' for index, time in enumerate(times))
    rows += "".join(f'"{time}","BZN|DE-LU","Nuclear","10"\n' for time in times)

    series = read_intensity_file(written(tmp_path, LONG_HEADER + rows))

    assert series.zone == "DE-LU"
    assert series.first_hour == datetime(2023, 10, 28, 22, tzinfo=UTC)
    expected = [(GAS * (index + 1) + NUCLEAR * 10) / (index + 11) for index in range(25)]
    assert series.grams_co2e_per_kwh == pytest.approx(expected)


def test_unmarked_rows_of_that_night_are_told_by_their_order(tmp_path: Path) -> None:
    hours = ["01", "02", "02", "03"]
    rows = "".join(
        f'"29/10/2023 {hour}:00:00 - 29/10/2023 {hour}:59:00","BZN|FR","{name}","{amount + index}"\n'
        for name, amount in (("Fossil Gas", 10), ("Nuclear", 20))
        for index, hour in enumerate(hours)
    )

    series = read_intensity_file(written(tmp_path, LONG_HEADER + rows))

    assert series.num_holes == 0
    assert series.grams_co2e_per_kwh == pytest.approx(
        [(GAS * (10 + index) + NUCLEAR * (20 + index)) / (30 + 2 * index) for index in range(4)]
    )


def test_the_day_of_23_hours_has_no_hole(tmp_path: Path) -> None:
    rows = "".join(
        f'"26/03/2023 {hour:02d}:00:00 - x","BZN|FR","Nuclear","{"N/A" if hour == 2 else 5}"\n'
        for hour in range(5)
    )

    series = read_intensity_file(written(tmp_path, LONG_HEADER + rows))

    assert series.grams_co2e_per_kwh == (NUCLEAR,) * 4


def test_the_file_librarys_tabs_are_read_and_an_area_chosen(tmp_path: Path) -> None:
    header = "DateTime(UTC)\tResolutionCode\tAreaDisplayName\tAreaTypeCode\tAreaMapCode\tProductionType\t"
    header += "ActualGenerationOutput[MW]\tActualConsumption[MW]\tUpdateTime(UTC)\n"
    row = "2026-02-01 00:00:00\tPT60M\tAustria (AT)\tBZN/CTA\t{0}\t{1}\t{2}\t0.0\t2026-02-05 10:48:37\n"
    path = written(
        tmp_path, header + row.format("AT", "Fossil Gas", "50.000000") + row.format("DE_LU", "Nuclear", "1")
    )

    assert read_intensity_file(path, zone="AT").grams_co2e_per_kwh == (GAS,)
    assert read_intensity_file(path, zone="DE-LU").grams_co2e_per_kwh == (NUCLEAR,)
    with pytest.raises(GridFileError, match="areas AT, DE-LU; choose one"):
        read_intensity_file(path)


def test_a_market_document_repeats_what_it_leaves_out_if_its_curve_says_so(tmp_path: Path) -> None:
    repeating = read_intensity_file(written(tmp_path, XML.format(curve="A03")), zone="NL")
    listing = read_intensity_file(written(tmp_path, XML.format(curve="A01")), zone="NL")

    weight = (3 * GAS + NUCLEAR) / 4
    assert repeating.grams_co2e_per_kwh == (weight, weight)
    assert listing.grams_co2e_per_kwh == (weight, pytest.approx(NUCLEAR))
    assert repeating.zone == "NL"


def test_local_times_that_nobody_places_are_refused(tmp_path: Path) -> None:
    row = '"Germany (DE)","01.01.2020 00:00 - 01.01.2020 01:00","300","50","900","n/e","100"\n'
    path = written(tmp_path, WIDE_HEADER + row)

    with pytest.raises(GridFileError, match="does not say its time zone"):
        read_intensity_file(path)
    assert read_intensity_file(path, time_zone="Europe/Berlin").first_hour.hour == 23


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (LONG_HEADER + '"01/01/2020 00:00:00 - x","FR","Dilithium","5"\n', "'Dilithium' is not known"),
        (LONG_HEADER + '"01/01/2020 00:00:00 - x","FR","Solar","five"\n', "line 2: 'five' is not a number"),
        (LONG_HEADER + '"01/01/2020 00:00:00 - x","FR","Solar","n/e"\n', "no hourly generation"),
        ("<html></html>", "no ENTSO-E document"),
        ("<GL_MarketDocument><TimeSeries>", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><GL_MarketDocument/>', "declares entities"),
        (XML.format(curve="A03").replace("B04", "B99"), "'B99' is not known"),
        (XML.format(curve="A03").replace("PT60M", "P1D"), "'P1D' is none up to an hour"),
        (XML.format(curve="A03").replace("<position>2", "<position>two"), "'two' is not a number"),
        (XML.format(curve="A03").replace("<position>2", "<position>0"), "at the position '0'"),
        (XML.format(curve="A03").replace("2021-03-11T07:00Z", "soon"), "'soon' is not a time"),
        (XML.format(curve="A03").replace("2021-03-11T07:00Z", "0001-01-01T00:00Z"), "not a time of an"),
    ],
)
def test_broken_files_say_why(tmp_path: Path, broken: str, reason: str) -> None:
    with pytest.raises(GridFileError, match=reason):
        read_intensity_file(written(tmp_path, broken), zone="FR")
