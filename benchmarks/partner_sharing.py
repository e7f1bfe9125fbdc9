"""A partner with 70 digits a class shares only synthetic ones; does that help a member who has 10 a class?

Every arm trains the same CNN for as many steps on the same splits (benchmarks/digits_arms.py), and is
compared with the same classical augmentation alone. At equal energy that one trains on for as long as the
arm took, the partner's generator included. JUDGED was named on seeds of its own (100 and up), never on those
of the benchmark: of the generators that no audit failed there, the one that gained most. What it shares is
audited on each seed with the partner's examples as members and the test examples as strangers.

The honest other side runs beside it: generators that learn from the member's own 10 a class.

Not covered: members whose data differ in kind, and generators with differential privacy.
"""

import statistics
from collections import Counter
from functools import partial
from typing import Any

from ayni.data.audit.generator_audit import audit_generated
from ayni.data.generation.generator import fit_generator
from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.records import Records
from ayni.data.utility import Arm, Derive, Split, UtilityResult, compare_arms, text_table
from ayni.workflows.train_generator import GeneratorTraining, train_here
from benchmarks.digits_arms import NUM_STEPS, digits_split, train_cnn
from benchmarks.registry import Benchmark, Outcome

SAMPLES_PER_CLASS = 300
GENERATORS = {
    "gaussian": GeneratorSettings(kind="gaussian"),
    # Half way to a sphere: what single examples say about directions is blurred.
    "shrunk gaussian": GeneratorSettings(kind="gaussian", shrinkage=0.5),
    "vae": GeneratorSettings(kind="vae"),
    "gan": GeneratorSettings(kind="gan"),
    "flow": GeneratorSettings(kind="flow"),
}
JUDGED = "gaussian"
ALSO_WITHOUT_AUGMENTATION = (JUDGED, "flow")
STEPS_OF_GENERATORS = 1500
AUGMENTED, BOUND = "augmented", "partner's own data"
MIN_POINTS, MAX_NEAR_COPIES = 1.5, 0.001


def measure(quick: bool) -> Outcome:
    """Ten seeds (two when quick); the bar asks the arm that was named before."""
    seeds = (0, 1) if quick else tuple(range(10))
    num_steps = NUM_STEPS // 5 if quick else NUM_STEPS
    made: dict[tuple[str, int], Records] = {}
    result = compare_arms(
        digits_split,
        _arms(made, is_quick=quick),
        train=train_cnn,
        num_steps=num_steps,
        seeds=seeds,
        allow_few=quick,
    )
    print(text_table(result), flush=True)
    values = _values(result)
    audits = _audits(made, seeds)
    values |= audits
    alone = compare_arms(
        partial(digits_split, partner_is_self=True),
        _arms({}, is_quick=quick, names=(JUDGED, "flow"), has_bound=False),
        train=train_cnn,
        num_steps=num_steps,
        seeds=seeds,
        allow_few=quick,
    )
    print(text_table(alone), flush=True)
    values |= {f"same_data_{name}": value for name, value in _values(alone).items()}
    judged = result.arm(_with_augmentation(JUDGED))
    assert judged.same_steps is not None
    is_met = (
        judged.verdict == "helps"
        and judged.same_steps.mean >= MIN_POINTS
        and not audits[f"{_key(JUDGED)}_audits_failed"]
        and audits[f"{_key(JUDGED)}_near_copies"] <= MAX_NEAR_COPIES
    )
    return Outcome(values=values, seeds=seeds, met=is_met)


def _arms(
    made: dict[tuple[str, int], Records],
    *,
    is_quick: bool,
    names: tuple[str, ...] = tuple(GENERATORS),
    has_bound: bool = True,
) -> list[Arm]:
    """Each generator with augmentation, and those that are also told about without it."""
    steps = STEPS_OF_GENERATORS // 10 if is_quick else STEPS_OF_GENERATORS
    derives = {name: _derive(name, steps, made) for name in names}
    arms = [Arm(name="none"), Arm(name=AUGMENTED, augments=True, compared_with="none")]
    arms += [
        Arm(name=name, derive=derives[name], compared_with="none")
        for name in names
        if name in ALSO_WITHOUT_AUGMENTATION
    ]
    arms += [
        Arm(name=_with_augmentation(name), derive=derive, augments=True, compared_with=AUGMENTED)
        for name, derive in derives.items()
    ]
    if has_bound:
        bound = Arm(name=BOUND, derive=_own_data, augments=True, compared_with=AUGMENTED, is_bound=True)
        arms.append(bound)
    return arms


def _derive(name: str, steps: int, made: dict[tuple[str, int], Records]) -> Derive:
    def derive(split: Split, seed: int) -> Records:
        train = train_here(GeneratorTraining(steps=steps))
        generator = fit_generator(split.partner, GENERATORS[name], seed=seed, train=train)
        found = generator.sample(num_per_class=SAMPLES_PER_CLASS, seed=seed)
        made[name, seed] = found
        return found

    return derive


def _own_data(split: Split, seed: int) -> Records:
    return split.partner


def _with_augmentation(name: str) -> str:
    return f"{name} + augmented"


def _values(result: UtilityResult) -> dict[str, Any]:
    """Accuracy, gain with its interval, gain at equal energy and cost of each arm."""
    values: dict[str, Any] = {"energy_unit": result.unit}
    for arm in result.arms:
        key = _key(arm.name)
        values |= {f"{key}_accuracy": arm.accuracy, f"{key}_energy": arm.cost.energy}
        for name, found in (("steps", arm.same_steps), ("energy", arm.same_energy)):
            if found is not None:
                values |= {
                    f"{key}_gain_same_{name}": found.mean,
                    f"{key}_gain_same_{name}_low": found.low,
                    f"{key}_gain_same_{name}_high": found.high,
                }
        values[f"{key}_verdict"] = arm.verdict
    return values


def _audits(made: dict[tuple[str, int], Records], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Of each generator: mean AUC of the distance attack, the largest share of near copies, verdicts."""
    values: dict[str, Any] = {}
    for name in GENERATORS:
        found = []
        for seed in seeds:
            split = digits_split(seed)
            found.append(audit_generated(made[name, seed], split.partner, split.test, seed=seed))
        verdicts = Counter(audit.verdict.kind for audit in found)
        key = _key(name)
        values |= {
            f"{key}_attack_auc": statistics.fmean(audit.attack.auc.value for audit in found),
            f"{key}_near_copies": max(audit.near_copies.value for audit in found),
            f"{key}_utility_ratio": statistics.fmean(
                audit.utility.from_generated / audit.utility.from_real for audit in found
            ),
            f"{key}_audits_failed": verdicts["fail"] + verdicts["void"] + verdicts["none"],
            f"{key}_audits": ", ".join(f"{kind} {count}" for kind, count in sorted(verdicts.items())),
        }
    return values


def _key(name: str) -> str:
    return name.replace(" + ", "_").replace("'", "").replace(" ", "_")


BENCHMARK = Benchmark(
    name="partner_sharing",
    topic="data: sharing without data",
    bar="a partner with 70 digits a class shares only synthetic ones with a member who has 10: best "
    "generator + augmentation against augmentation alone, 10 seeds: at least +1.5 points, both lower bounds "
    "above 0, and no audit of it fails",
    seconds_quick=90,
    seconds_full=700,
    measure=measure,
)
