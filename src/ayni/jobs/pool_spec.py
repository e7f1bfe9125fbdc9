"""What a pool file may hold: sites, grids and assumptions of a what-if simulation, checked before any replay.

As in a job file, unknown keys are refused with the nearest known one, and every problem names its line. Paths
are relative to the pool file.

Not covered: reading the files that it names; `workflows/simulate_pool.py` does.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ayni.jobs.document import read_document
from ayni.jobs.problems import BadJobError, problems_of
from ayni.jobs.spec import Name


def _is_moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None and len(text) > len("2023-05-01"):
        raise ValueError("a time needs its zone, such as 2023-05-01T12:00:00+00:00; a bare day begins in UTC")
    return text


Moment = Annotated[
    str,
    AfterValidator(_is_moment),
    Field(json_schema_extra={"allowed": "a day such as 2023-05-01, or a time with its zone"}),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GridFileSpec(_Section):
    """A table of hourly figures: the first column the time, one column for each zone."""

    file: str
    """Path of the table; a name ending in .gz is unpacked."""


class CarbonSpec(GridFileSpec):
    """Grams of CO2e per kWh, hour by hour."""

    counting: Literal["life-cycle", "direct"] | None = None
    """What the figures count; must be given where the file does not say it."""


class PricesSpec(GridFileSpec):
    """Prices of electricity, hour by hour."""

    credits_per_unit: float = Field(default=1.0, gt=0)
    """Credits that a unit of the file's money is worth."""

    per: Literal["MWh", "kWh"] = "MWh"
    """What a price in the file is for."""


class MachineClassSpec(_Section):
    """One kind of machine."""

    watts: float = Field(gt=0)
    """Power of one machine at work, without the building's overhead."""

    throughput: float = Field(default=1.0, gt=0)
    """Speed over that of the machines of the trace."""


class PoolSiteSpec(_Section):
    """Machines of one class at one place."""

    name: Name
    """What the site is called."""

    member: Name
    """Whose machines they are; as the trace names it."""

    zone: str
    """The grid, as the columns of the hourly files name it."""

    machine_class: Name
    """One of `machine_classes`."""

    machines: int = Field(ge=1)
    """How many machines there are."""

    pue: float = Field(default=1.0, ge=1.0, lt=10.0)
    """Energy of the building over that of its machines."""

    wear_credits_per_machine_hour: float = Field(default=0.0, ge=0)
    """What an hour of one machine costs its owner, electricity apart."""

    electricity_credits_per_kwh: float | None = Field(default=None, ge=0)
    """Price of electricity where no hourly `prices` are given."""

    ask_credits_per_machine_hour: float | None = Field(default=None, ge=0)
    """What is asked for an hour, electricity included; not given = wear and the mean price of electricity."""

    reliability: float = Field(default=1.0, gt=0, le=1)
    """Share of machine-hours that end as they should."""


class JobsSpec(_Section):
    """What a trace does not say of its jobs. All of it is made up by the seed, and the report says so."""

    slack_hours: float = Field(default=24.0, ge=0)
    """How much later than at once a job may end."""

    grace_minutes: float = Field(default=60.0, ge=0)
    """What rounds and transfers may take beside the slack."""

    worth_median_factor: float = Field(default=2.0, ge=0)
    """Median worth above `worth_least_factor`, in prices of a machine-hour."""

    worth_least_factor: float = Field(default=1.5, ge=0)
    """What every job is worth at least, in prices of a machine-hour."""

    worth_spread: float = Field(default=0.7, ge=0)
    """Spread of the worth: sigma of a lognormal."""

    data_median_gigabytes: float = Field(default=5.0, ge=0)
    """Median data that move with a job that leaves its home."""

    data_spread: float = Field(default=1.0, ge=0)
    """Spread of the data: sigma of a lognormal."""

    share_suspendable: float = Field(default=1.0, ge=0, le=1)
    """Share of the jobs that can be stopped and go on later."""


class TransferSpec(_Section):
    """What moving a job takes."""

    credits_per_gigabyte: float = Field(default=0.01, ge=0)
    """Price of a gigabyte between sites."""

    gigabits_per_second: float = Field(default=1.0, gt=0)
    """Speed at which data move while the machines wait."""

    restart_seconds: float = Field(default=120.0, ge=0)
    """Time to save and to load a checkpoint when a job is stopped and goes on."""


class MarketSpec(_Section):
    """How the market is run, and how members bid in it."""

    slot_minutes: Literal[10, 15, 20, 30, 60] = 30
    """Length of a slot; a round is held at the start of each."""

    carbon_credits_per_tonne: float = Field(default=190.0, ge=0)
    """Charge for carbon, which goes to the climate account."""

    lookahead_hours: float | None = Field(default=0.0, ge=0)
    """How far ahead a job with slack books a place; null = as far as its slack reaches."""

    cap_share: float | None = Field(default=0.5, gt=0, le=1)
    """The greenest share of the coming day's machine-hours that a job with all of its slack accepts at least;
    null = it accepts all."""

    move_saving: float | None = Field(default=0.1, ge=0, lt=1)
    """Share of the carbon of what is left of a lease that moving to free machines must save; null = nobody
    moves."""

    greenest_within: float | None = Field(default=None, ge=0)
    """Take the least carbon among places at most this share dearer than the cheapest; null = the cheapest."""

    share_cap: float | None = Field(default=None, gt=0)
    """Times its fair share that a member gets of others' machines while others wait; null = no cap."""

    segment_hours: float = Field(default=24.0, gt=0, le=48)
    """The longest lease of a job that can be suspended; then it bids for the rest."""


class PoolSpec(_Section):
    """A pool to be simulated."""

    name: Name
    """What the report calls it."""

    start: Moment
    """The moment of the grids' files at which the trace begins."""

    carbon: CarbonSpec
    """Hourly carbon intensity of the zones."""

    prices: PricesSpec | None = None
    """Hourly prices of electricity; not given = each site has `electricity_credits_per_kwh`."""

    machine_classes: Mapping[Name, MachineClassSpec] = Field(min_length=1)
    """The kinds of machines, by name."""

    sites: tuple[PoolSiteSpec, ...] = Field(min_length=1)
    """Where the machines are."""

    jobs: JobsSpec = JobsSpec()
    transfer: TransferSpec = TransferSpec()
    market: MarketSpec = MarketSpec()

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [site.name for site in self.sites]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"sites: the name {twice} stands twice")
        for site in self.sites:
            if site.machine_class not in self.machine_classes:
                known = ", ".join(sorted(self.machine_classes))
                raise ValueError(
                    f"sites: {site.name} has machines of the class {site.machine_class}; there are {known}"
                )
            if self.prices is None and site.electricity_credits_per_kwh is None:
                raise ValueError(
                    f"sites: {site.name} has no electricity_credits_per_kwh, and there are no hourly prices"
                )
        return self


def load_pool(path: Path) -> PoolSpec:
    """Read and check a pool file.

    Raises:
        JobFileError: the file cannot be read as YAML.
        BadJobError: keys or values are wrong; every problem is listed.
    """
    document = read_document(path)
    try:
        # Through JSON, because pydantic's strict mode takes tuples from lists only there.
        return PoolSpec.model_validate_json(json.dumps(document.values), strict=True)
    except ValidationError as error:
        raise BadJobError(name=document.name, problems=problems_of(error, document, PoolSpec)) from error
