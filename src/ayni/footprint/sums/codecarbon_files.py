"""Rows of CodeCarbon's emissions.csv, read for what they are.

    energy_consumed    kWh with PUE folded in (`energy *= pue`)     IT energy = energy_consumed / pue
    emissions          kg of CO2e, of that energy                   grams = 1000 * emissions
    water_consumed     WUE * energy with PUE                        on site = water_consumed / pue; 0: unsaid
    timestamp          local time without a zone, of the end        your time zone, else UTC, and it says so
    run_id             repeated by each flush() with what it has drawn so far: the last row counts

A row gives no interval and does not say what its carbon counts, so both stay unknown. A cell that should
hold a number and does not, parts that do not add up, or a run whose energy falls, is an error that names
the line.

A file without the column `pue` is of a version that knew none, and its energy is that of the machines. One
with `task_name` (a file of tasks) folds PUE in all the same and leaves it out: then it has to be given. The
energy of tasks is that of their run once more, which has a row in emissions.csv.

Not covered: files of other tools; CodeCarbon's API and its other outputs.

Source: codecarbon 3.3.2 and 2.x: emissions_tracker.py (`_do_measurements`, `flush`), output_methods/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from ayni.footprint.exports.codecarbon_csv import WRITTEN_BY
from ayni.footprint.grid.carbon import carbon_intensity, country_code
from ayni.footprint.grid.grid_files import GridFileError, number, parse_table, read_text, time_zone_named
from ayni.footprint.impacts.embodied import GRAMS_PER_KILOGRAM
from ayni.units import MICROJOULES_PER_KWH

NEEDED = ("timestamp", "run_id", "duration", "emissions", "energy_consumed")
PARTS = ("cpu_energy", "gpu_energy", "ram_energy")
_LARGEST_PUE = 10.0
# CodeCarbon adds floats in another order than we do.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCarbonRow:
    """One run, or one task of a run, as CodeCarbon wrote it last, in our units.

    `task` None is the whole run. `on_site_litres` None: its WUE was not said.
    """

    line: int
    run: str
    project: str
    task: str | None
    ended_at: datetime
    seconds: float
    it_microjoules: int
    facility_microjoules: int
    grams_co2e: float
    pue: float
    on_site_litres: float | None
    zone: str
    hardware: str
    version: str

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return self.ended_at - timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCarbonFile:
    """The runs of a file, and what a reader should know of how they were read, as sentences."""

    rows: tuple[CodeCarbonRow, ...]
    notes: tuple[str, ...]


def read_codecarbon_file(
    path: Path, *, time_zone: str | None = None, pue: float | None = None
) -> CodeCarbonFile:
    """The runs of an emissions.csv, in the order of their last rows.

    Args:
        path: the file.
        time_zone: of its times, such as Europe/Berlin; UTC when not given.
        pue: what its energy was multiplied with, where the file does not say.

    Raises:
        GridFileError: not such a file, a hole, or a row that contradicts itself; names the line.
    """
    table = parse_table(path, read_text(path))
    columns = {title: index for index, title in enumerate(table.header)}
    _check_header(path, columns, len(table.header), pue)
    zone = UTC if time_zone is None else time_zone_named(path, time_zone)
    runs: dict[tuple[str, str | None], CodeCarbonRow] = {}
    num_earlier = 0
    for line, cells in table.rows:
        if len(cells) != len(table.header):
            raise GridFileError(path, f"has {len(cells)} cells, the header {len(table.header)}", line=line)
        row = _row(path, line, {title: cells[index].strip() for title, index in columns.items()}, zone, pue)
        before = runs.pop((row.run, row.task), None)
        if before is not None:
            num_earlier += 1
            _check_growth(path, before, row)
        runs[row.run, row.task] = row
    rows = tuple(runs.values())
    return CodeCarbonFile(rows=rows, notes=_notes(rows, num_earlier, time_zone))


def _check_header(path: Path, columns: Mapping[str, int], num_columns: int, pue: float | None) -> None:
    if len(columns) < num_columns:
        raise GridFileError(path, "has two columns of one name")
    if missing := [name for name in NEEDED if name not in columns]:
        raise GridFileError(path, f"is no emissions.csv of CodeCarbon: it has no column {', '.join(missing)}")
    if pue is not None and not 1 <= pue <= _LARGEST_PUE:
        raise GridFileError(path, f"PUE is between 1 and {_LARGEST_PUE:g}, not {pue:g}")
    if pue is not None and "pue" in columns:
        raise GridFileError(path, f"has a column pue, so leave out the {pue:g} that was given")
    if "task_name" in columns and "pue" not in columns and pue is None:
        raise GridFileError(
            path,
            "is a file of tasks: CodeCarbon multiplied its energy with a PUE that the file does not name. "
            "Give it: --pue 1.2, or --pue 1 where none was set",
        )


def _row(
    path: Path, line: int, cells: Mapping[str, str], zone: tzinfo, given_pue: float | None
) -> CodeCarbonRow:
    if cells.get("codecarbon_version", "").startswith(WRITTEN_BY):
        raise GridFileError(
            path, "was exported by Ayni. Its receipts are what counts; import nothing", line=line
        )
    pue = _pue(path, line, cells, given_pue)
    energy = _needed(path, line, cells, "energy_consumed")
    _check_parts(path, line, cells, energy)
    facility = round(energy * MICROJOULES_PER_KWH)
    return CodeCarbonRow(
        line=line,
        run=_text(path, line, cells, "run_id"),
        project=cells.get("project_name") or "codecarbon",
        task=cells.get("task_name") or None,
        ended_at=_ended_at(path, line, cells["timestamp"], zone),
        seconds=_needed(path, line, cells, "duration"),
        it_microjoules=round(facility / pue),
        facility_microjoules=facility,
        grams_co2e=_needed(path, line, cells, "emissions") * GRAMS_PER_KILOGRAM,
        pue=pue,
        on_site_litres=_on_site(path, line, cells, pue),
        zone=_zone(cells),
        hardware=", ".join(filter(None, (cells.get("cpu_model"), cells.get("gpu_model")))) or "unknown",
        version=cells.get("codecarbon_version") or "of unknown version",
    )


def _pue(path: Path, line: int, cells: Mapping[str, str], given: float | None) -> float:
    if "pue" not in cells:
        return 1.0 if given is None else given
    value = _needed(path, line, cells, "pue")
    if not 1 <= value <= _LARGEST_PUE:
        raise GridFileError(path, f"pue is {value:g}; it is between 1 and {_LARGEST_PUE:g}", line=line)
    return value


def _check_parts(path: Path, line: int, cells: Mapping[str, str], energy: float) -> None:
    """Processor, GPU and memory are the whole, where all three are there."""
    parts = [number(path, line, cells.get(name, "")) for name in PARTS]
    known = [part for part in parts if part is not None]
    if len(known) == len(PARTS) and abs(sum(known) - energy) > _ROUNDING * max(abs(energy), 1e-12):
        raise GridFileError(
            path,
            f"{' + '.join(PARTS)} = {sum(known):.6g} kWh, but energy_consumed is {energy:.6g}",
            line=line,
        )


def _check_growth(path: Path, before: CodeCarbonRow, row: CodeCarbonRow) -> None:
    if row.facility_microjoules < before.facility_microjoules:
        raise GridFileError(
            path,
            f"the run {row.run} has less energy here than in line {before.line}: these are two runs under "
            "one name, and nobody can say which counts. Split the file",
            line=row.line,
        )


def _ended_at(path: Path, line: int, text: str, zone: tzinfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise GridFileError(path, f"{text[:40]!r} is not a time", line=line) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _on_site(path: Path, line: int, cells: Mapping[str, str], pue: float) -> float | None:
    wue = number(path, line, cells.get("wue", ""))
    water = number(path, line, cells.get("water_consumed", ""))
    return water / pue if wue and water is not None else None


def _zone(cells: Mapping[str, str]) -> str:
    """A zone as receipts name it (FR), or what the file says where no grid is known by it."""
    country = (cells.get("country_iso_code") or "").upper()
    if not country:
        return "unknown"
    return carbon_intensity(country).zone if country_code(country) else country


def _needed(path: Path, line: int, cells: Mapping[str, str], name: str) -> float:
    value = number(path, line, cells[name])
    if value is None:
        raise GridFileError(path, f"{name} is empty", line=line)
    if value < 0:
        raise GridFileError(path, f"{name} is {value:g}, below 0", line=line)
    return value


def _text(path: Path, line: int, cells: Mapping[str, str], name: str) -> str:
    if not cells[name]:
        raise GridFileError(path, f"{name} is empty", line=line)
    return cells[name]


def _notes(rows: tuple[CodeCarbonRow, ...], num_earlier: int, time_zone: str | None) -> tuple[str, ...]:
    notes = ["CodeCarbon gives no interval and does not say what its carbon counts: both are unknown."]
    if time_zone is None:
        notes.append("Times in the file have no zone and were taken for UTC.")
    if num_earlier:
        notes.append(
            f"{num_earlier} rows are earlier states of a run that has a later row, and do not count."
        )
    if any(row.pue != 1 for row in rows):
        notes.append("Energy was divided by the PUE that CodeCarbon had multiplied it with.")
    if any(row.zone == "CA" for row in rows):
        notes.append("CodeCarbon says Canada also where it could not find out the place.")
    return tuple(notes)
