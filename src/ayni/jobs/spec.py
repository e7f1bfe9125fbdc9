"""What a job may hold: the sections of job.yaml as values, checked before any work is spent.

The sections `train` and `compress` are the config dataclasses of the capabilities that use them; the
others are here. Pydantic checks them all, because here data enters. The YAML is checked in strict
mode: a whole number in quotes, or `true` for 1, is a mistake and not a number.

Not covered: whether the task can be imported, and whether the data's licence allows the model's.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from ayni.compress.config import CompressConfig
from ayni.data.config import DataConfig
from ayni.data.corruptions.config import CorruptionsConfig
from ayni.errors import UserError
from ayni.footprint.grid.carbon import carbon_intensity, country_intensity
from ayni.hub.licences import check_licence
from ayni.hub.names import check_repository_name
from ayni.market.offers import parse_duration
from ayni.train.config import TrainConfig


def _checked_by(check: Callable[[str], object]) -> AfterValidator:
    """A validator that leaves the text as it is and refuses what `check` refuses."""

    def validate(text: str) -> str:
        # Pydantic collects ValueErrors only; anything else would hide the other problems of the job.
        try:
            check(text)
        except UserError as error:
            raise ValueError(str(error)) from error
        return text

    return AfterValidator(validate)


def _check_zone(zone: str) -> None:
    """A part of a known country (DE-LU) is a zone, too, with the figures of its country."""
    if country_intensity(zone) is None:
        carbon_intensity(zone)


def _number_as_text(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


# "allowed" is what an error says about a text that does not fit; see ayni.jobs.problems.
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    Field(json_schema_extra={"allowed": "1 to 64 letters, digits, and . _ - after the first"}),
]
TaskName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"),
    Field(json_schema_extra={"allowed": "module:object, for example task:Digits for Digits in task.py"}),
]
Duration = Annotated[
    str,
    BeforeValidator(_number_as_text),
    _checked_by(parse_duration),
    Field(json_schema_extra={"allowed": "a time such as 90s, 45m, 2h or 1h30m, or a number of seconds"}),
]
RepositoryName = Annotated[
    str,
    _checked_by(check_repository_name),
    Field(json_schema_extra={"allowed": "owner/name, for example me/digits"}),
]

LicenceName = Annotated[str, _checked_by(lambda licence: check_licence(licence, None))]
ZoneName = Annotated[str, _checked_by(_check_zone)]


# What of `train` is looked at when a job begins with a trained model: distillation and recovery use it too.
KEYS_WITHOUT_TRAINING = ("device", "batch_size", "learners")
# The value of `model` for a task that builds its model with trained weights.
AS_BUILT = "task"


class _Section(BaseModel):
    """A mapping of job.yaml: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricSpec(_Section):
    """How the task's first metric is read."""

    better: Literal["higher", "lower"] = "higher"
    """Whether more of it is better (accuracy) or less (bits per character, error)."""


class ExplainSpec(_Section):
    """How much of the model's behaviour is shown."""

    samples: int = Field(default=8, ge=0, le=1000)
    """Test examples to attribute. Eight fill one row of the report; 0 skips the attributions."""

    method: Literal[
        "auto", "integrated_gradients", "ablation", "deeplift", "gradcam", "layer_integrated_gradients"
    ] = "auto"
    """How. auto takes integrated gradients, of symbols on their embedding, and ablation where there are no
    gradients; any other must fit the model."""

    corruptions: CorruptionsConfig | None = None
    """How the model answers corrupted test images; not given = nobody looks. For classifiers of images."""


class AuditSpec(_Section):
    """How the model is attacked before it is published."""

    method: Literal["lira", "rmia"] = "lira"
    """lira compares with many shadow models and finds most; rmia does with four."""

    shadow_models: int = Field(default=16, ge=4, le=1024, multiple_of=2)
    """Models trained for comparison, each by the job's own recipe. This is what an audit costs."""

    records: int = Field(default=1000, ge=250, le=100_000)
    """Training examples that are attacked at most, and as many unseen ones. Below 250 of each there is no
    verdict."""


class LimitsSpec(_Section):
    """What the job may use at most; a limit that is not given does not hold."""

    credits: float | None = Field(default=None, ge=0)
    """Credits that the job's owner pays at most."""

    energy_kwh: float | None = Field(default=None, ge=0)
    """Energy of the machines in kilowatt-hours, without the building's overhead."""

    carbon_grams: float | None = Field(default=None, ge=0)
    """Grams of CO2e, building overhead included."""

    deadline: Duration | None = None
    """Longest working time from start to report, for example 90s, 45m, 2h or 1h30m; the time between a
    stop and its resume does not count."""

    @property
    def deadline_seconds(self) -> float | None:
        """The deadline in seconds; None when there is none."""
        return None if self.deadline is None else parse_duration(self.deadline)


class GridSpec(_Section):
    """Carbon intensity hour by hour, from files or over the network."""

    files: tuple[str, ...] = ()
    """Hourly figures as Electricity Maps, ENTSO-E or NESO publish them, or a plain table; paths are
    relative to the job file."""

    zone: str | None = None
    """What the files call the place, where that is not `site.zone`."""

    counting: Literal["life-cycle", "direct"] | None = None
    """What the figures count; must be given for a plain table, chooses the column elsewhere."""

    unit: str = "g/kWh"
    """Unit of a plain table: g/kWh, kg/MWh, lb/MWh."""

    time_zone: str | None = None
    """Time zone of times that name none, such as Europe/Berlin; not given = UTC."""

    live: bool = False
    """Ask Electricity Maps over the network with your token (AYNI_ELECTRICITY_MAPS_TOKEN)."""


class TariffSpec(_Section):
    """Prices of electricity hour by hour."""

    file: str
    """A table with a column of times and one of prices; the path is relative to the job file."""

    credits_per_unit: float = Field(gt=0, lt=1e9, allow_inf_nan=False)
    """How many credits one unit of the file's money is."""

    per: Literal["MWh", "kWh"] = "MWh"
    """What the prices are for; day-ahead markets trade megawatt-hours."""

    zone: str | None = None
    """Which column of the file, where that is not called as `site.zone`."""

    time_zone: str | None = None
    """Time zone of times that name none; not given = UTC."""


class HardwareSpec(_Section):
    """What making the machine took; not given = estimated from its parts, with a wide interval."""

    kilograms_co2e: float | None = Field(default=None, gt=0, lt=1e9, allow_inf_nan=False)
    """Product carbon footprint of the machine without its use, as its maker declares it, in kilograms."""

    lifetime_years: float = Field(default=4.0, gt=0, le=50)
    """Over how many years it is spread: 4 for servers, 6 for desktops."""

    accelerators: tuple[str, ...] = ()
    """Accelerators of the machine that the job takes as a whole, by name: NVIDIA A100."""


class SiteSpec(_Section):
    """The machines that do the work, as their owner offers them."""

    name: Name = "own"
    """What receipts call the site."""

    zone: ZoneName | None = None
    """Where its electricity comes from: a country (DE) or part of one (US-CA, DE-LU); not given = unknown."""

    pue: float = Field(default=1.0, ge=1.0, le=10.0)
    """Energy of the building over energy of its machines; 1.0 = no overhead counted (a laptop, a desk)."""

    ask_credits_per_core_hour: float = Field(default=0.01, ge=0)
    """Price of one core for one hour, electricity apart."""

    electricity_credits_per_kwh: float = Field(default=0.30, ge=0)
    """Price of electricity; the default is about what a household pays in Europe, in euros."""

    cpu_watts: float | None = Field(default=None, gt=0)
    """Power of the processors under full load in watts, where no sensor answers; not given = estimated."""

    wue_litres_per_kwh: float | None = Field(default=None, ge=0, le=1000, allow_inf_nan=False)
    """Water that cooling takes on the site, in litres per kWh of the machines; 0 without evaporative cooling;
    not given = unknown."""

    grid: GridSpec = GridSpec()
    tariff: TariffSpec | None = None
    """Hourly prices of electricity; hours without one cost `electricity_credits_per_kwh`."""

    hardware: HardwareSpec = HardwareSpec()

    throughput: float | None = Field(default=None, gt=0)
    """Work of such jobs that this machine does in an hour, where a V100 does 1; not given = unknown, so that
    other machines cannot be compared with it."""

    @model_validator(mode="after")
    def _has_a_zone_for_its_grid(self) -> Self:
        if self.zone is None and (self.grid.files or self.grid.live):
            raise ValueError("site.grid has hourly figures, but no site.zone says what place they are for")
        return self


class BidSpec(_Section):
    """What the job is worth in a pool and where it may run there: for `ayni jobs submit`."""

    worth: float | None = Field(default=None, ge=0)
    """Credits that the result is worth to its owner; no price is above it. Not given = limits.credits."""

    done_within: Duration = "24h"
    """Time from its submission by which it must be done. A day lets it wait for a cheaper, greener hour."""

    kind: Name = "any"
    """Kind of work, as machine classes name their throughput; `any` is the one that holds for all kinds."""

    machines: int = Field(default=1, ge=1)
    """Machines that must start and stop together; all or none."""

    classes: tuple[Name, ...] = ()
    """Machine classes that will do; none named = every class whose throughput is known."""

    residency: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Countries or grid zones where its data may be; not given = anywhere."""

    can_suspend: bool = False
    """Whether it may stop and go on later, as a run does with `ayni resume`."""

    data_gigabytes: float = Field(default=0.0, ge=0)
    """What must travel to a site that is not its owner's."""


class PublishSpec(_Section):
    """Where the result goes in the local hub."""

    repository: RepositoryName
    """`owner/name`, as on the Hugging Face Hub."""

    licence: LicenceName | None = None
    """Licence of the model, named as on the Hugging Face Hub (apache-2.0); not given = unknown."""

    pictures: bool = False
    """Show explained test examples on the card. Off, because they leave with the model: not everybody who
    may use a model may see records."""

    despite_audit: bool = False
    """Publish also what failed its audit; the card says that it did."""


class JobSpec(_Section):
    """One job: what is learned, how, within which limits, where, and where the result goes."""

    name: Name
    """What the run is called."""

    task: TaskName
    """`module:object`: the module is a Python file beside the job file, the object is the task in it."""

    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Start of every random choice. The upper bound is that of NumPy's seeds."""

    member: Name = "me"
    """The organisation that pays."""

    metric: MetricSpec = MetricSpec()
    model: str | None = None
    """A trained model to begin with, instead of training one: a safetensors file (relative to the job file),
    a model of the local hub as owner/name or owner/name@revision, or `task`: as the task builds it."""

    data: DataConfig | None = None
    """Where the data are and how they are augmented; not given = as the task has them."""

    train: TrainConfig = Field(default_factory=TrainConfig)
    """How the model is trained; with `model`, only `device`, `batch_size` and `learners` are looked at."""

    compress: CompressConfig | None = None
    """How variants are made; not given = the full model is the only one."""

    audit: AuditSpec | None = None
    """Whether the model gives away its training data; not given = nobody looks."""

    explain: ExplainSpec = ExplainSpec()
    limits: LimitsSpec = LimitsSpec()
    site: SiteSpec = SiteSpec()
    bid: BidSpec = BidSpec()
    publish: PublishSpec | None = None
    """Where the result is published; not given = nowhere."""

    @model_validator(mode="after")
    def _keeps_its_privacy(self) -> Self:
        if self.train.privacy is not None and self.compress is not None:
            raise ValueError(
                "`compress` looks at the training examples again, without the noise that train.privacy "
                "promises: remove one of the two. Variants made in a job of their own promise no privacy"
            )
        return self

    @model_validator(mode="after")
    def _begins_in_one_way(self) -> Self:
        if self.model is None:
            return self
        default = TrainConfig()
        unused = [
            field.name
            for field in fields(TrainConfig)
            if field.name not in KEYS_WITHOUT_TRAINING
            and getattr(self.train, field.name) != getattr(default, field.name)
        ]
        if unused:
            raise ValueError(
                f"`model` begins with a trained model, so that train.{unused[0]} has nothing to do: remove "
                f"one of the two. With `model`, train may hold {', '.join(KEYS_WITHOUT_TRAINING)}"
            )
        return self
