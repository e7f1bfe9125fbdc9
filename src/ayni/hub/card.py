"""The model card: README.md with metadata that the Hugging Face Hub understands, and text that people read.

Metadata are written by the YAML library and text is escaped, so that no name or note from a job can add a
metadata field, a heading or a link. Unknown numbers are left out or said to be unknown; nothing is guessed.

Not covered: cards of data sets, and a card written by the user (the job's own text is one paragraph of ours).

Source: huggingface/hub-docs, modelcard.md (metadata); `co2_eq_emissions.emissions` is in grams there.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ayni.hub.card_explanations import CardExplanations, explanations_section
from ayni.hub.card_robustness import CardRobustness, robustness_section
from ayni.hub.card_words import code, number, text
from ayni.hub.config import FULL, WEIGHTS_FILE, ModelConfig
from ayni.hub.licences import KNOWN_LICENCES, licence_identifier
from ayni.hub.names import check_repository_name
from ayni.hub.usage_code import model_code, onnx_code

# What may stand inside code; the names that compression gives are all of this kind.
PLAIN_NAME = re.compile(r"[\w.-]+")
ONNX_FILE = re.compile(r"[\w.-]+\.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVariant:
    """One row of the table of results; None means not measured.

    interval: of the first metric.
    runtime: what runs it, in a word.
    drop: how much worse the first metric is than the full model's on the validation data.
    latency_problem: why the latency is not to be quoted; empty when it is.
    break_even: inferences until its making is paid back, with the interval, in words.
    """

    name: str
    file: str
    metrics: Mapping[str, float]
    interval: tuple[float, float] | None = None
    runtime: str | None = None
    drop: float | None = None
    num_parameters: int | None = None
    stored_bytes: int | None = None
    latency_p50_seconds: float | None = None
    latency_problem: str = ""
    energy_joules_per_1000: float | None = None
    break_even: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardData:
    """The data that the model learned from. `licence` None means that it is not known."""

    name: str
    licence: str | None = None
    source: str | None = None
    attribution: str | None = None
    note: str | None = None
    num_rows: int | None = None
    num_classes: int | None = None
    sha256: str | None = None
    """Content hash of the data's files."""
    augmentation: str | None = None
    """What training batches went through, in a sentence; None = nothing, or what the task does itself."""
    hub_id: str | None = None
    """Name of the data set on the Hugging Face Hub, when it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFootprint:
    """What making the model cost, with intervals. `tier` and `meter` say how the energy was found."""

    energy_joules: float
    energy_low_joules: float
    energy_high_joules: float
    tier: str
    meter: str
    grams_co2e: float | None = None
    low_grams_co2e: float | None = None
    high_grams_co2e: float | None = None
    zone: str | None = None
    carbon_basis: str | None = None
    pue: float = 1.0
    hardware: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLineage:
    """Where the model comes from."""

    run: str
    seed: int
    versions: Mapping[str, str]
    base_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAudit:
    """Whether the model gives away which examples it was trained on.

    auc: of the attack, with its interval.
    hits_at_1_percent: share of training examples found where one in a hundred others is taken for one.
    """

    verdict: str
    reasons: tuple[str, ...]
    method: str
    num_shadow_models: int
    num_records: int
    auc: tuple[float, float, float]
    hits_at_1_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPrivacy:
    """What the training promises about single examples (differential privacy).

    accountant: whose arithmetic, with its version.
    unit: what one is promised about.
    """

    epsilon: float
    delta: float
    accountant: str
    sampling: str
    sample_rate: float
    noise_multiplier: float
    clip: float
    steps: int
    learners: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything that the card says.

    Attributes:
        repository: `namespace/name`.
        summary: one paragraph of the job's owner.
        licence: of the model, an identifier such as "cc-by-sa-4.0".
        config: the same that is written to `config.json`.
        variants: the full model first.
        baseline: metrics of a simple method on the same test data, by its name.
        reason: why the chosen variant was chosen, or why none was.
        pays: whether compression pays back its own energy, as a sentence; empty when nothing is to be said.
        task_is_built: the task's name is an object already, and no class or function to call.
        limits: sentences on what the model is not good for.
        audit: of the model against its training data; None when nobody looked.
        privacy: differential privacy of the training; None when none is promised.
        robustness: what corrupted images do to the model; None when nobody looked.
    """

    repository: str
    licence: str
    config: ModelConfig
    variants: tuple[CardVariant, ...]
    data: CardData
    lineage: CardLineage
    footprint: CardFootprint | None = None
    summary: str = ""
    reason: str = ""
    pays: str = ""
    baseline: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    audit: CardAudit | None = None
    privacy: CardPrivacy | None = None
    explanations: CardExplanations | None = None
    robustness: CardRobustness | None = None
    task_is_built: bool = False

    def __post_init__(self) -> None:
        check_repository_name(self.repository)


def model_card(card: ModelCard) -> str:
    """README.md of a published model."""
    front = yaml.safe_dump(card_metadata(card), sort_keys=False, allow_unicode=True, width=1000)
    sections = [
        f"# {text(card.repository)}",
        text(card.summary),
        _results(card),
        _use(card),
        _footprint(card.footprint),
        explanations_section(card.explanations),
        _data(card),
        _privacy(card.privacy),
        _audit(card.audit),
        robustness_section(card.robustness),
        _lineage(card),
        _limits(card),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def card_metadata(card: ModelCard) -> dict[str, Any]:
    """The metadata at the top of the card, as plain values."""
    licence = licence_identifier(card.licence)
    metadata: dict[str, Any] = {"license": licence if licence in KNOWN_LICENCES else "other"}
    if metadata["license"] == "other":
        metadata["license_name"] = licence
    metadata["library_name"] = card.config.library
    if card.config.pipeline_tag != "other":
        metadata["pipeline_tag"] = card.config.pipeline_tag
    metadata["tags"] = ["ayni", "safetensors", *card.tags]
    for ending, tag in ((".onnx", "onnx"), (".xml", "openvino"), (".tflite", "tflite")):
        if any(variant.file.endswith(ending) for variant in card.variants):
            metadata["tags"].append(tag)
    if card.data.hub_id:
        metadata["datasets"] = [card.data.hub_id]
    if card.lineage.base_model:
        metadata["base_model"] = card.lineage.base_model
    if card.footprint and card.footprint.grams_co2e is not None:
        metadata["co2_eq_emissions"] = _emissions(card.footprint)
    if results := [_result(card, variant) for variant in card.variants if variant.metrics]:
        metadata["model-index"] = [{"name": card.repository.partition("/")[2], "results": results}]
    return metadata


def _emissions(footprint: CardFootprint) -> dict[str, Any]:
    emissions: dict[str, Any] = {
        "emissions": _plain(footprint.grams_co2e),
        "source": f"Ayni, {footprint.meter} (tier {footprint.tier})",
        "training_type": "pre-training",
    }
    if footprint.zone:
        emissions["geographical_location"] = footprint.zone
    if footprint.hardware:
        emissions["hardware_used"] = footprint.hardware
    return emissions


def _result(card: ModelCard, variant: CardVariant) -> dict[str, Any]:
    task = card.config.pipeline_tag
    return {
        "task": {"type": task, "name": f"{task} (variant {variant.name})"},
        "dataset": {"name": card.data.name, "type": dataset_id(card.data), "split": "test"},
        "metrics": [
            {"type": name, "value": _plain(value), "name": f"{name}, {variant.name}"}
            for name, value in variant.metrics.items()
            if math.isfinite(value)
        ],
    }


def dataset_id(data: CardData) -> str:
    """The name of a data set by which results on it are compared."""
    return data.hub_id or re.sub(r"[^a-z0-9]+", "-", data.name.lower()).strip("-") or "data"


def _plain(value: float | None) -> float | None:
    # Five significant digits: more would claim a precision that no interval of ours has.
    return None if value is None else float(f"{value:.5g}")


COST_COLUMNS = (
    "lost on validation",
    "runtime",
    "parameters",
    "bytes",
    "of full",
    "ms, p50, 1 thread",
    "J per 1000",
    "inferences until paid back",
)


def _results(card: ModelCard) -> str:
    metrics = list(dict.fromkeys(name for variant in card.variants for name in variant.metrics))
    head = ["", *metrics, *COST_COLUMNS]
    rows = [_row(card, variant, metrics) for variant in card.variants]
    for name, values in card.baseline.items():
        empty = [""] * len(COST_COLUMNS)
        rows.append([f"{text(name)} (baseline)", *(number(values.get(each)) for each in metrics), *empty])
    lines = [[text(cell) for cell in head], ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    chosen = text(card.config.chosen or "none")
    reason = f"\n\nChosen: {chosen}. {text(card.reason)}".rstrip()
    pays = f"\n\n{text(card.pays)}" if card.pays else ""
    return f"## Results\n\nOn the test split, with the interval of the first metric.\n\n{table}{reason}{pays}"


def _row(card: ModelCard, variant: CardVariant, metrics: list[str]) -> list[str]:
    cells = [number(variant.metrics.get(name)) for name in metrics]
    if variant.interval and cells:
        cells[0] += f" ({number(variant.interval[0])} to {number(variant.interval[1])})"
    milliseconds = None if variant.latency_p50_seconds is None else 1000 * variant.latency_p50_seconds
    name = f"**{text(variant.name)}**" if variant.name == card.config.chosen else text(variant.name)
    return [
        f"{name} {code(variant.file)}",
        *cells,
        number(variant.drop),
        text(variant.runtime or "?"),
        _count(variant.num_parameters),
        _count(variant.stored_bytes),
        _share(variant.stored_bytes, card.variants[0].stored_bytes),
        number(milliseconds) + (" (not to be quoted)" if variant.latency_problem else ""),
        number(variant.energy_joules_per_1000),
        text("" if variant.name == FULL else variant.break_even or "?"),
    ]


def _count(count: int | None) -> str:
    return "?" if count is None else str(count)


def _share(part: int | None, whole: int | None) -> str:
    return "?" if part is None or not whole else f"{100 * part / whole:.3g} %"


def _use(card: ModelCard) -> str:
    config, name = card.config, card.repository
    packages = "keras" if config.library == "keras" else "torch"
    return (
        "## Use\n\n"
        f"Without Ayni, in the folder of this repository, with `{packages}` and `safetensors` (and what the "
        f"task imports):\n\n```python\n{model_code(config, task_is_built=card.task_is_built)}```\n\n"
        "With Ayni:\n\n"
        f'```python\nimport ayni\n\nmodel = ayni.load("{name}")\n```\n\n'
        f"{_use_of_variants(card)}"
        f"```sh\nayni predict {name} FILE\n```\n\n"
        f"{_use_of_onnx(card)}"
        f"The model takes {code(list(config.input_shape))} of {code(config.input_dtype)} per "
        f"example, after a batch dimension. {code(WEIGHTS_FILE)} is always the {FULL} model."
    )


def _use_of_variants(card: ModelCard) -> str:
    """How to load one with Ayni: the chosen one, else the first."""
    names = [one.name for one in card.variants if one.name != FULL and PLAIN_NAME.fullmatch(one.name)]
    if not names:
        return ""
    name = card.config.chosen if card.config.chosen in names else names[0]
    return (
        f"A variant is called as the model is called; there are {', '.join(map(code, names))}:\n\n"
        f'```python\nmodel = ayni.load("{card.repository}", variant="{name}")\n```\n\n'
    )


def _use_of_onnx(card: ModelCard) -> str:
    """How to run a graph without Ayni: the chosen variant if it is one."""
    graphs = {one.name: one.file for one in card.variants if ONNX_FILE.fullmatch(one.file)}
    if not graphs:
        return ""
    file = graphs.get(card.config.chosen or "") or next(iter(graphs.values()))
    return (
        "An ONNX variant without Ayni and without the task's code, with `onnxruntime`:\n\n"
        f"```python\n{onnx_code(card.config, file)}```\n\n"
    )


def _footprint(footprint: CardFootprint | None) -> str:
    if footprint is None:
        return "## Footprint\n\nNot measured."
    joules = f"{number(footprint.energy_joules)} J"
    between = f"{number(footprint.energy_low_joules)} to {number(footprint.energy_high_joules)} J"
    lines = [
        f"- Energy of the machines: {joules} ({between}), {number(footprint.energy_joules / 3.6e6)} kWh; "
        f"tier {text(footprint.tier)}: {text(footprint.meter)}.",
        f"- Power usage effectiveness of the site: {number(footprint.pue)}.",
        _carbon_line(footprint),
    ]
    if footprint.hardware:
        lines.append(f"- Hardware: {text(footprint.hardware)}.")
    closing = "The signed receipts of every step are in `receipts/`."
    return "## Footprint\n\n" + "\n".join(lines) + f"\n\n{closing}"


def _carbon_line(footprint: CardFootprint) -> str:
    if footprint.grams_co2e is None:
        return "- Carbon: not known."
    interval = ""
    if footprint.low_grams_co2e is not None and footprint.high_grams_co2e is not None:
        interval = f" ({number(footprint.low_grams_co2e)} to {number(footprint.high_grams_co2e)} g)"
    zone = text(footprint.zone) if footprint.zone else "not known"
    basis = f"; {text(footprint.carbon_basis)}" if footprint.carbon_basis else ""
    return f"- Carbon: {number(footprint.grams_co2e)} g CO2e{interval}; zone {zone}{basis}."


def _data(card: ModelCard) -> str:
    data = card.data
    unknown = "not known, so nobody can tell whether the model's licence fits"
    lines = [f"- Name: {text(data.name)}", f"- Licence: {text(data.licence) if data.licence else unknown}"]
    for label, value in (
        ("Source", data.source),
        ("Attribution", data.attribution),
        ("Rows", data.num_rows),
        ("Classes", data.num_classes),
        ("SHA-256", data.sha256),
        ("Augmentation", data.augmentation),
    ):
        if value is not None:
            lines.append(f"- {label}: {text(value)}")
    if data.note:
        lines.append(f"- Note: {text(data.note)}")
    lines.append(f"- Licence of this model: {text(card.licence)}")
    return "## Data and licence\n\n" + "\n".join(lines)


def _privacy(privacy: CardPrivacy | None) -> str:
    if privacy is None:
        return ""
    of_learners = "" if privacy.learners == 1 else f" of {privacy.learners} learners together"
    return (
        "## Privacy\n\n"
        f"Trained with differential privacy (DP-SGD): epsilon {privacy.epsilon:.4g}, delta "
        f"{privacy.delta:g}, for {text(privacy.unit)}.\n\n"
        f"- Accountant: {text(privacy.accountant)}\n"
        f"- Sampling: {text(privacy.sampling)}, rate {number(privacy.sample_rate)}, {privacy.steps:,} "
        f"steps{of_learners}\n"
        f"- Clip {number(privacy.clip)}, noise multiplier {number(privacy.noise_multiplier)}\n\n"
        "The promise is about the weights. It does not cover the choice of settings, weights that the "
        "training began with, an audit below, nor the examples of the validation and test splits."
    )


def _audit(audit: CardAudit | None) -> str:
    if audit is None:
        return ""
    told = {
        "pass": "No leak was found",
        "warn": "A small leak was found",
        "fail": "**The audit failed, and the model was published all the same.** It gives data away",
        "none": "No verdict",
        "void": "The audit is void",
    }[audit.verdict]
    value, low, high = audit.auc
    return (
        f"## Leak audit\n\n{told}: {text('; '.join(audit.reasons))}.\n\n"
        f"Attack {text(audit.method)} with {audit.num_shadow_models} shadow models on {audit.num_records:,} "
        f"training examples and as many unseen ones: AUC {value:.3f} ({low:.3f} to {high:.3f}; 0.5 is "
        f"guessing), {audit.hits_at_1_percent:.1%} of training examples found at 1 % false alarms."
    )


def _lineage(card: ModelCard) -> str:
    lines = [
        f"- Run: {code(card.lineage.run)}",
        f"- Task: {code(card.config.task)}, SHA-256 {code(card.config.task_sha256)}",
        f"- Seed: {card.lineage.seed}",
    ]
    if card.lineage.base_model:
        lines.append(f"- Base model: {text(card.lineage.base_model)}")
    versions = ", ".join(f"{text(name)} {text(version)}" for name, version in card.lineage.versions.items())
    return "## Lineage\n\n" + "\n".join([*lines, f"- Versions: {versions or 'not recorded'}"])


def _limits(card: ModelCard) -> str:
    unaudited = ["bias"]
    unaudited += [] if card.robustness else ["robustness"]
    unaudited += [] if card.audit else ["privacy"]
    *first, last = unaudited
    named = f"{', '.join(first)} or {last}" if first else last
    general = f"The numbers above hold for the named test data only. The model was not audited for {named}."
    return "## Limits\n\n" + "\n".join(f"- {text(each)}" for each in (*card.limits, general))
