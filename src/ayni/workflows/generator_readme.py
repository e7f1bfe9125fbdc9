"""README.md of synthetic examples: that they are synthetic, of what, and whether a leak was looked for.

Text of others (source, licence) is written as code, so that it can be no heading and no link.

Not covered: cards of models that are no generators (ayni.hub.card).
"""

import yaml

from ayni.data.generation.generator_card import GeneratorCard
from ayni.data.records import Records
from ayni.hub.licences import licence_identifier

_VERDICTS = {
    "pass": "passed",
    "warn": "warned",
    "fail": "FAILED",
    "none": "gave no verdict",
    "void": "is void",
}


def generator_readme(
    card: GeneratorCard, samples: Records, *, has_sheet: bool, repository: str | None = None
) -> str:
    """The whole page, with metadata that the Hugging Face Hub understands."""
    licence = None if card.licence is None else licence_identifier(card.licence)
    metadata = {"license": licence or "other", "tags": ["synthetic", "ayni", f"generator-{card.kind}"]}
    front = yaml.safe_dump(metadata, sort_keys=False)
    title = repository or "Synthetic examples"
    parts = [
        f"---\n{front}---",
        f"# {title}",
        "**These examples are synthetic.** A generator made them; none is a record of anybody. They repeat "
        "what the records were like, their mistakes and gaps included.",
        _facts(card, samples),
        "## Leak audit\n\n" + _audit(card),
        "## Use\n\n" + _use(card, repository),
    ]
    if has_sheet:
        parts.insert(3, "![Examples, a row for each class](samples.png)")
    return "\n\n".join(parts) + "\n"


def _facts(card: GeneratorCard, samples: Records) -> str:
    cost = card.cost
    energy = "" if cost.joules is None else f", {cost.joules:.1f} J"
    source = _code(card.source) if card.source else "source not stated"
    rows = {
        "examples here": f"{len(samples)} of {len(card.classes)} classes",
        "made of": f"{card.num_records} records, {source}",
        "licence of the records": _code(card.licence) if card.licence else "not stated",
        "SHA-256 of the records": f"`{card.records_sha256}`",
        "generator": f"{card.kind}, seed {card.seed}",
        "cost of the generator": f"{cost.cpu_seconds:.2f} CPU s{energy}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| what | |", "|---|---|", *lines])


def _audit(card: GeneratorCard) -> str:
    if card.audit is None:
        return (
            "**No leak audit was run.** Nobody has tried to find the records in these examples: share them "
            "as you would share the records."
        )
    verdict, attack = card.audit["verdict"], card.audit["attack"]["auc"]
    reasons = "; ".join(_code(reason) for reason in verdict["reasons"])
    return (
        f"The audit **{_VERDICTS.get(verdict['kind'], 'is unknown')}**: {reasons}.\n\n"
        f"Distance attack: AUC {attack['value']:.3f} ({attack['low']:.3f} to {attack['high']:.3f}), 0.5 is "
        f"guessing. Near copies: {card.audit['near_copies']['value']:.2%}. An audit finds leaks; it proves "
        "no privacy."
    )


def _use(card: GeneratorCard, repository: str | None) -> str:
    name = repository or "OWNER/NAME"
    return (
        "`samples.npz` has `inputs` and `labels`. Where `generator.json` is here too, more can be made:\n\n"
        f"```\nayni data generate {name} --per-class 100\n```\n\n"
        "Whoever trains on them should compare with classical augmentation alone, at equal steps and energy "
        "(`ayni.data.utility`)."
    )


def _code(text: str) -> str:
    """As code, on one line, with nothing that could end it or a cell of a table."""
    return "`" + " ".join(text.replace("`", "'").replace("|", "/").split()) + "`"
