"""The conditions of a job's site: what its owner declares, with the files of its grid and its prices.

Files are copied into the run when it is planned, so that receipts can be written wherever the originals
went. A job that names a file which is not there, or is none, is refused before anything is spent.

Not covered: several sites.
"""

from dataclasses import replace
from pathlib import Path

from ayni.errors import UserError
from ayni.files import make_folder, write_atomically
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import GivenSeries, IntensitySource
from ayni.footprint.grid.tariffs import Tariff, read_tariff_file
from ayni.footprint.impacts.embodied import Device, accelerator, declared_device
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.jobs.loading import Job
from ayni.jobs.runs import Run
from ayni.jobs.spec import SiteSpec
from ayni.units import MICROCREDITS_PER_CREDIT, credits_to_microcredits
from ayni.workflows.house import House

SITE_FOLDER = "site"


class NoLiveGridError(UserError):
    """A job asks for live carbon figures, and there is no token to ask with."""

    def __init__(self) -> None:
        super().__init__(
            "The job has site.grid.live, and no token of Electricity Maps is set. Set the variable "
            "AYNI_ELECTRICITY_MAPS_TOKEN, name files in site.grid.files, or remove the key."
        )


def conditions_of_job(job: Job, house: House) -> SiteConditions:
    """The conditions that a job declares, its files read beside the job file.

    Raises:
        GridFileError: a file is not there, or holds something else.
        NoLiveGridError: live figures without a token.
    """
    return _conditions(job.spec.site, house, folder=job.path.parent, is_copied=False)


def conditions_of_run(run: Run, house: House) -> SiteConditions:
    """The conditions of a run, from the copies of its files.

    Raises:
        GridFileError: a copy was changed.
    """
    return _conditions(run.job.spec.site, house, folder=run.folder / SITE_FOLDER, is_copied=True)


def keep_site_files(run: Run) -> None:
    """Copy the files that the job's site names into the run, once.

    Raises:
        GridFileError: one is not there.
    """
    job = run.job
    for name in _files_of(job.spec.site):
        source, target = job.path.parent / name, run.folder / SITE_FOLDER / _copied_name(job.spec.site, name)
        if target.exists():
            continue
        if not source.is_file():
            raise GridFileError(source, "is not there")
        make_folder(target.parent)
        write_atomically(target, source.read_bytes())


def _files_of(site: SiteSpec) -> list[str]:
    return [*site.grid.files, *([] if site.tariff is None else [site.tariff.file])]


def _copied_name(site: SiteSpec, name: str) -> str:
    """Numbered, because two files of different folders may have one name."""
    return f"{_files_of(site).index(name) + 1}-{Path(name).name}"


def _conditions(site: SiteSpec, house: House, *, folder: Path, is_copied: bool) -> SiteConditions:
    def path_of(name: str) -> Path:
        path = folder / (_copied_name(site, name) if is_copied else name)
        if not path.is_file():
            raise GridFileError(path, "is not there")
        return path

    return SiteConditions(
        zone=site.zone,
        pue=site.pue,
        sources=_sources(site, house, [path_of(name) for name in site.grid.files]),
        wue_litres_per_kwh=site.wue_litres_per_kwh,
        machine=_machine(site, house),
        accelerators=tuple(
            accelerator(name, lifetime_years=site.hardware.lifetime_years)
            for name in site.hardware.accelerators
        ),
        tariff=_tariff(site, None if site.tariff is None else path_of(site.tariff.file)),
        ask_microcredits_per_core_hour=credits_to_microcredits(site.ask_credits_per_core_hour),
    )


def _sources(site: SiteSpec, house: House, paths: list[Path]) -> tuple[IntensitySource, ...]:
    grid = site.grid
    series = [
        read_intensity_file(
            path,
            zone=grid.zone or site.zone,
            counting=grid.counting,
            unit=grid.unit,
            time_zone=grid.time_zone,
        )
        for path in paths
    ]
    # The job refuses files without a zone.
    series = [replace(each, zone=site.zone or each.zone) for each in series]
    sources: list[IntensitySource] = [GivenSeries(*series)] if series else []
    if grid.live:
        if house.live_grid is None:
            raise NoLiveGridError
        sources.append(house.live_grid)
    return tuple(sources)


def _machine(site: SiteSpec, house: House) -> Device:
    hardware = site.hardware
    if hardware.kilograms_co2e is None:
        return house.machine(hardware.lifetime_years)
    return declared_device(
        "machine", kilograms_co2e=hardware.kilograms_co2e, lifetime_years=hardware.lifetime_years
    )


def _tariff(site: SiteSpec, path: Path | None) -> Tariff:
    flat = credits_to_microcredits(site.electricity_credits_per_kwh)
    if path is None or site.tariff is None:
        return Tariff(name="flat", flat_microcredits_per_kwh=flat)
    return read_tariff_file(
        path,
        microcredits_per_unit=site.tariff.credits_per_unit * MICROCREDITS_PER_CREDIT,
        zone=site.tariff.zone or site.zone,
        time_zone=site.tariff.time_zone,
        per_mwh=site.tariff.per == "MWh",
        flat_microcredits_per_kwh=flat,
    )
