"""Plan a job: try a few training steps, and say what the whole would take before any of it is spent.

The estimate is the probe's time for a step, times the steps, plus what the other parts took on the digits
example. It is rough on purpose and carries a high end; the report puts what really happened beside it.

The market looks at the job too: the plan names later hours and other places that were not taken, and why
(`plan_alternatives`).

Not covered: going there. A run works on this machine, and at once.
"""

import math
from collections.abc import Mapping
from datetime import timedelta

from ayni.compress.steps import (
    NUM_CALIBRATION_EXAMPLES,
    DistillStep,
    FactorizeStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    looks_at_data,
)
from ayni.files import write_json
from ayni.footprint.counters.power_model import PowerModel, estimate_energy
from ayni.jobs.loading import Job
from ayni.jobs.runs import Run
from ayni.jobs.spec import JobSpec
from ayni.market.planning import BudgetTooSmallError, Plan, StepEstimate, make_plan
from ayni.market.pool_store import PoolStore
from ayni.train.probe import Probe, probe
from ayni.units import microcredits_to_credits
from ayni.workflows.corrupt_model import find_reference
from ayni.workflows.house import House
from ayni.workflows.initial_weights import find_initial_weights, find_model
from ayni.workflows.offer import limits_of, offer_of
from ayni.workflows.plan_alternatives import with_alternatives
from ayni.workflows.preflight import check_before_training
from ayni.workflows.progress import Approve
from ayni.workflows.publish_licence import check_publish_licence
from ayni.workflows.site_conditions import conditions_of_job

CONSENT_FILE = "consent.json"
# Rough seconds on one core of a two-core virtual machine, and rough factors, set by hand so that the plan of
# the digits example comes near its receipts. They are not statistics; HIGH_FACTOR says how far to trust them.
START_OF_A_LEARNER = 2.5
EXPORT_OF_A_VARIANT = 0.4
# LiteRT's converter works in a process of its own, which imports TensorFlow.
EXPORT_OF_A_KERAS_VARIANT = 9.0
MEASURE_OF_A_VARIANT = 1.0
PRUNE = 0.5
EXPLAIN = 3.0
EXPLAIN_PER_SAMPLE = 0.1
PUBLISH = 0.5
# All corruptions of an image of 32 x 32 pixels take 5 ms, of 224 x 224 pixels fifty times as long.
CORRUPT_AN_IMAGE = 0.005
NUM_SETTINGS = 75
# Exchange, validation and waiting for each other, beside the steps themselves.
ROUND_OVERHEAD = 1.15
# A teacher's forward pass beside the student's step, and smaller batches, in steps of training.
DISTILL_FACTOR = 1.5
# Statistics of every layer and the algebra on them, beside a plain pass over the calibration examples: MiniLM
# takes 37 s for 50 % with SparseGPT where 150 sentences take 3.7 s.
DATA_FACTOR = 10.0
# Other work on the machine and a probe of a second: the high end of a time estimate.
HIGH_FACTOR = 2.5


def plan_job(job: Job, house: House) -> Plan:
    """The plan of a job on this machine.

    Raises:
        TaskImportError, TaskFailedError: the task cannot be had, or fails on its first steps.
        UnknownZoneError: the site's zone is no grid that is known.
        GridFileError, NoLiveGridError: the site's hourly figures cannot be had.
        LicenceConflictError, MissingLicenceError: the result could not be published as the job asks.
        InitialWeightsNotFoundError, NotSafetensorsError, InitialWeightsError: training cannot start from
            what the job names.
        UnwatchableLimitError: energy or carbon is limited and a GPU is used that nothing here can meter.
        UserError: what would stop the run only after its training, see `preflight`.
    """
    spec = job.spec
    task = job.task.load()
    check_publish_licence(spec, task)
    conditions = conditions_of_job(job, house)
    counters, power = house.make_counters(spec), house.make_power_model(spec)
    find_model(job, house.hub)
    find_reference(spec, house.hub)
    init_path = find_initial_weights(job, house.hub)
    measured = probe(task, spec.train, init_path=init_path, trains=spec.model is None)
    check_before_training(spec, task, measured)
    cores = min(spec.train.learners, house.num_cores)
    seconds = _seconds_of_steps(spec, measured, cores)
    now, duration_seconds = house.now(), sum(wall for wall, _ in seconds.values())
    plan = make_plan(
        [
            _estimate(step, wall, busy, cores, power=power)
            if not counters.unknown
            else _estimate_without_energy(step, wall, cores, tier=counters.tier)
            for step, (wall, busy) in seconds.items()
        ],
        offer=offer_of(spec, house),
        limits=limits_of(spec),
        now=now,
        carbon_intensity=conditions.intensity_between(now, now + timedelta(seconds=duration_seconds)),
    )
    return with_alternatives(plan, spec, PoolStore(house.database))


def approve_plan(run: Run, plan: Plan, *, yes: bool, approve: Approve | None) -> bool:
    """Whether the run may go beyond its limits: said before, said now, or agreed by a person.

    Raises:
        BudgetTooSmallError: the plan exceeds a limit and nobody agreed.
    """
    consent = run.folder / CONSENT_FILE
    if consent.exists():
        return True
    # Asked even within the limits, so that a person sees the plan before it is carried out.
    says_yes = approve is not None and approve(plan.to_json())
    is_agreed = yes or (says_yes and bool(plan.violations()))
    if is_agreed:
        write_json(consent, {"goes_beyond_limits": True})
    elif violations := plan.violations():
        raise BudgetTooSmallError(violations)
    return is_agreed


def text_of(plan: Plan) -> str:
    """The plan in a few words."""
    seconds = (plan.rows[-1].end - plan.rows[0].start).total_seconds()
    credits_ = microcredits_to_credits(int(plan.total("cost_microcredits")))
    energy, grams = plan.known_total("energy_joules"), plan.known_total("grams_co2e")
    if energy is None or grams is None:
        return f"about {seconds:.0f} s, energy and CO2e unknown, {credits_:.2g} credits"
    return f"about {seconds:.0f} s, {energy:.0f} J, {grams:.2g} g CO2e, {credits_:.2g} credits"


def _estimate(
    step: str, wall_seconds: float, busy_seconds: float, cores: int, *, power: PowerModel
) -> StepEstimate:
    energy = estimate_energy(busy_seconds, wall_seconds, cores, model=power)
    assert energy.joules is not None and energy.low_joules is not None and energy.high_joules is not None
    return StepEstimate(
        step=step,
        wall_seconds=wall_seconds,
        high_seconds=wall_seconds * HIGH_FACTOR,
        num_cores=cores,
        energy_joules=energy.joules,
        low_joules=energy.low_joules,
        high_joules=energy.high_joules * HIGH_FACTOR,
        tier=energy.tier,
    )


def _estimate_without_energy(step: str, wall_seconds: float, cores: int, *, tier: str) -> StepEstimate:
    """A GPU that nothing can meter makes the energy of the whole run unknown, here as in its receipts."""
    return StepEstimate(
        step=step,
        wall_seconds=wall_seconds,
        high_seconds=wall_seconds * HIGH_FACTOR,
        num_cores=cores,
        energy_joules=None,
        low_joules=None,
        high_joules=None,
        tier=tier,
    )


def _seconds_of_steps(spec: JobSpec, measured: Probe, cores: int) -> Mapping[str, tuple[float, float]]:
    """For each step: wall seconds, and busy seconds of all cores together."""
    steps = {"train": _train_seconds(spec, measured, cores)}
    if spec.model is not None:
        validation = (
            START_OF_A_LEARNER + measured.evaluate_seconds_per_example * measured.num_validation_examples
        )
        steps["train"] = (validation, validation)
    if spec.compress is not None:
        seconds = _compress_seconds(spec, measured)
        steps["compress"] = (seconds, seconds)
    if spec.audit is not None:
        # Shadow models are trained one after the other on one core.
        _, busy = _train_seconds(spec, measured, cores=1)
        seconds = spec.audit.shadow_models * (busy - spec.train.learners * START_OF_A_LEARNER)
        steps["audit"] = (seconds, seconds)
    explain = EXPLAIN + EXPLAIN_PER_SAMPLE * spec.explain.samples
    if (corruptions := spec.explain.corruptions) is not None:
        # Clean images and the 75 settings, each answered by up to three models.
        answers = 3 * (1 + NUM_SETTINGS) * measured.evaluate_seconds_per_example
        explain += corruptions.samples * (CORRUPT_AN_IMAGE + answers)
    steps["explain"] = (explain, explain)
    if spec.publish is not None:
        steps["publish"] = (PUBLISH, PUBLISH)
    return steps


def _train_seconds(spec: JobSpec, measured: Probe, cores: int) -> tuple[float, float]:
    train = spec.train
    of_one_learner = train.total_steps * measured.step_seconds * ROUND_OVERHEAD
    waves = math.ceil(train.learners / cores)
    validation = measured.evaluate_seconds_per_example * measured.num_validation_examples
    busy = train.learners * (of_one_learner + START_OF_A_LEARNER) + train.rounds * validation
    return waves * of_one_learner + START_OF_A_LEARNER + validation, busy


def _compress_seconds(spec: JobSpec, measured: Probe) -> float:
    assert spec.compress is not None
    if spec.compress.search is not None and spec.compress.search.seconds:
        # A search ends by itself; a trial that runs then is finished.
        return spec.compress.search.seconds
    steps = [entry.step for entry in spec.compress.steps]
    num_variants = 2 + len(steps)
    # Each variant answers the validation and the test split; the probe knows the size of the first.
    evaluation = measured.evaluate_seconds_per_example * 3 * measured.num_validation_examples
    export = EXPORT_OF_A_KERAS_VARIANT if measured.uses_keras else EXPORT_OF_A_VARIANT
    seconds: float = num_variants * (export + MEASURE_OF_A_VARIANT + evaluation)
    of_an_epoch = measured.num_train_examples * measured.step_seconds / spec.train.batch_size
    for step in steps:
        if isinstance(step, DistillStep):
            seconds += step.epochs * of_an_epoch * DISTILL_FACTOR
        elif isinstance(step, RecoverStep | QuantizeStep):
            seconds += step.epochs * of_an_epoch
        elif isinstance(step, PruneStep | FactorizeStep):
            seconds += PRUNE
        if looks_at_data(step):
            evaluated = DATA_FACTOR * NUM_CALIBRATION_EXAMPLES * measured.evaluate_seconds_per_example
            seconds += evaluated
    return seconds
