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
from ayni.errors import UserError
from ayni.footprint.carbon import carbon_intensity
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
ZoneName = Annotated[str, _checked_by(carbon_intensity)]


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


class SiteSpec(_Section):
    """The machines that do the work, as their owner offers them."""

    name: Name = "own"
    """What receipts call the site."""

    zone: ZoneName | None = None
    """Where its electricity comes from: a country (DE) or a state of the USA (US-CA); not given = unknown."""

    pue: float = Field(default=1.0, ge=1.0, le=10.0)
    """Energy of the building over energy of its machines; 1.0 = no overhead counted (a laptop, a desk)."""

    ask_credits_per_core_hour: float = Field(default=0.01, ge=0)
    """Price of one core for one hour, electricity apart."""

    electricity_credits_per_kwh: float = Field(default=0.30, ge=0)
    """Price of electricity; the default is about what a household pays in Europe, in euros."""

    cpu_watts: float | None = Field(default=None, gt=0)
    """Power of the processors under full load in watts, where no sensor answers; not given = estimated."""


class PublishSpec(_Section):
    """Where the result goes in the local hub."""

    repository: RepositoryName
    """`owner/name`, as on the Hugging Face Hub."""

    licence: LicenceName | None = None
    """Licence of the model, named as on the Hugging Face Hub (apache-2.0); not given = unknown."""


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

    train: TrainConfig = Field(default_factory=TrainConfig)
    """How the model is trained; with `model`, only `device`, `batch_size` and `learners` are looked at."""

    compress: CompressConfig | None = None
    """How variants are made; not given = the full model is the only one."""

    explain: ExplainSpec = ExplainSpec()
    limits: LimitsSpec = LimitsSpec()
    site: SiteSpec = SiteSpec()
    publish: PublishSpec | None = None
    """Where the result is published; not given = nowhere."""

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
