"""Ayni's search against NNCF's accuracy control and Neural Compressor's autotune, with equal time and data.

Two models: a small network with convolutions, trained on MNIST here, and MiniLM, a sentence encoder whose
quality is how near it stays to itself (mean cosine). Each tool gets a process with one core and the same
seconds, the same calibration examples and validation split, and the same limit on what may be lost on it
(0.01 of accuracy, 0.02 of cosine). What holds on the validation split is a point of the tool; points are
measured together in one process: quality on the test split, bytes of the files, latency in turns with one
thread and one example. Files and code: `benchmarks/peers/compress_*.py`.

    a point of theirs is covered  if one of ours is at least as good in quality, bytes and latency

Tolerances for noise: latency 5 %. Quality counts as equal where the 95 % interval of the paired difference on
the test split holds 0 (Newcombe's for right answers, Student's for cosines). Bytes 0.1 %, for names
and notes inside of files: ours state the form of the answer.

Each tool's answer may be to leave the model as it is; a form that is no better than that is covered by it.

What the others offer on a CPU: NNCF 3.4 with OpenVINO int8 within the limit (layers that cost too much go
back to floats) and weights alone in 8 and 4 bits; it neither prunes nor distils any more. Neural Compressor
3.10 for PyTorch static and dynamic int8 of exported graphs (PT2E with torch.compile), weights to nearest in
8 and 4 bits, and bfloat16. Its int8 graphs are saved with weights in floats, so their files are not smaller;
its form in bfloat16 has no file of its own; its static int8 through Intel's extension for PyTorch is not
measured, for that extension ends at torch 2.8; its GPTQ looks for the blocks of a language model and fails
on both models. Ayni's search tries OpenVINO too, through NNCF, and both have one quantizer there.

Not covered: energy; accelerators; language models; the time that torch.compile takes, which is not counted.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ayni
from ayni.compress.evidence.paired import PairedDifference, difference_of_means, difference_of_shares
from ayni.compress.pareto import Direction, coverage, pareto_front
from benchmarks.compression_runs import MODELS, PACKAGES
from benchmarks.peer_runs import PEERS, python_beside, run_alone
from benchmarks.registry import HERE, Benchmark, Outcome

NEURAL_COMPRESSOR = "neural-compressor-pt==3.10"
OURS, OTHERS = "ayni", ("nncf", "inc")
SEED = 1
LATENCY_TOLERANCE, BYTES_TOLERANCE = 0.05, 0.001
TERMS: Mapping[str, Direction] = {"quality": "higher", "bytes": "lower", "latency": "lower"}
MEASURE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One model, and what every tool gets for it."""

    task: str
    max_drop: float
    seconds_quick: float
    seconds_full: float


CONTESTS = (
    Contest(task="digits", max_drop=0.01, seconds_quick=60, seconds_full=300),
    Contest(task="encoder", max_drop=0.02, seconds_quick=180, seconds_full=600),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A form of a model: quality of each test example, and ratios to the full model run by torch.

    problem: why the latency is not to be quoted; None when it is.
    """

    qualities: Sequence[float]
    bytes_ratio: float
    latency_ratio: float
    problem: str | None = None

    @property
    def quality(self) -> float:
        return sum(self.qualities) / len(self.qualities)

    def terms(self) -> dict[str, float]:
        return {"quality": self.quality, "bytes": self.bytes_ratio, "latency": self.latency_ratio}


def covering(ours: Mapping[str, Point], theirs: Point) -> tuple[str, ...]:
    """Those of our points that are at least as good as theirs, within the tolerances."""
    forgiven = {name: _forgiven(point, theirs) for name, point in ours.items()}
    return coverage(forgiven, {"theirs": theirs.terms()}, TERMS)["theirs"]


def _forgiven(own: Point, theirs: Point) -> dict[str, float]:
    """Our point as it counts beside theirs: what may be noise is not held against it."""
    terms = own.terms()
    terms["latency"] /= 1 + LATENCY_TOLERANCE
    terms["bytes"] /= 1 + BYTES_TOLERANCE
    difference = _difference(theirs.qualities, own.qualities)
    if difference is not None and difference.low <= 0 <= difference.high:
        terms["quality"] = max(own.quality, theirs.quality)
    return terms


def _difference(before: Sequence[float], after: Sequence[float]) -> PairedDifference | None:
    are_shares = all(value in (0.0, 1.0) for value in (*before, *after))
    return difference_of_shares(before, after) if are_shares else difference_of_means(before, after)


def measure(quick: bool) -> Outcome:
    """One run of each tool for each model: what they make does not depend on luck, but for our training."""
    values: dict[str, Any] = {}
    is_met = True
    for contest in CONTESTS:
        with tempfile.TemporaryDirectory() as folder:
            found, uncovered = _contest(contest, Path(folder), quick=quick)
        values |= found
        is_met &= not uncovered
    return Outcome(values=values, seeds=(SEED,), met=is_met)


def _contest(contest: Contest, folder: Path, *, quick: bool) -> tuple[dict[str, Any], list[str]]:
    seconds = contest.seconds_quick if quick else contest.seconds_full
    task, common = contest.task, {"task": contest.task, "folder": str(folder)}
    _run("prepare", {**common, "epochs": 6 if quick else 20, "seed": SEED}, seconds=600)
    limits = {**common, "seconds": seconds, "max-drop": contest.max_drop}
    reports = {tool: _run(tool, limits, seconds=10 * seconds) for tool in (OURS, *OTHERS)}
    made = [
        {**each, "id": f"{tool}:{each['name']}"}
        for tool, report in reports.items()
        for each in report["made"]
    ]
    (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")
    measured = _run("measure", {**common, "seconds": MEASURE_SECONDS}, seconds=1800)
    points = _points(measured["found"], contest.max_drop)
    values: dict[str, Any] = {f"{task}_seconds_for_each": seconds}
    values[f"{task}_{OURS}_stopped"] = reports[OURS]["stopped"]
    uncovered = _table(points, measured["found"]["full"]["qualities"], task, values)
    for tool in OTHERS:
        for name, reason in reports[tool]["problems"].items():
            values[f"{task}_{tool}_{name}"] = reason
    for name, reason in measured["problems"].items():
        values[f"{task}_{name.replace(':', '_')}"] = reason
    values[f"{task}_uncovered"] = uncovered
    return values, uncovered


def _points(found: Mapping[str, Any], max_drop: float) -> dict[str, dict[str, Point]]:
    """Points of each tool that hold on the validation split."""
    full = found["full"]
    allowed = _mean(full["validation"]) - max_drop - 1e-9
    points: dict[str, dict[str, Point]] = {tool: {} for tool in (OURS, *OTHERS)}
    points[OURS]["full"] = Point(qualities=full["qualities"], bytes_ratio=1.0, latency_ratio=1.0)
    for identity, each in found.items():
        if identity == "full" or _mean(each["validation"]) < allowed:
            continue
        tool, name = identity.split(":", 1)
        points[tool][name] = Point(
            qualities=each["qualities"],
            bytes_ratio=each["bytes"] / full["bytes"],
            latency_ratio=each["seconds"] / full["seconds"],
            problem=each["problem"],
        )
    return points


def _table(
    points: Mapping[str, Mapping[str, Point]], full: Sequence[float], task: str, values: dict[str, Any]
) -> list[str]:
    """Add a value for each point of theirs and of our front; names of those that we do not cover."""
    ours = points[OURS]
    front = pareto_front({name: point.terms() for name, point in ours.items()}, TERMS).names
    for name in front:
        values[f"{task}_{OURS}_{name}"] = _shown(ours[name], full)
    uncovered = []
    for tool in OTHERS:
        for name, point in points[tool].items():
            by = covering(ours, point)
            text = f"covered by {' and '.join(by)}" if by else "NOT covered"
            values[f"{task}_{tool}_{name}"] = [*_shown(point, full), text]
            uncovered += [] if by else [f"{tool}:{name}"]
    return uncovered


def _shown(point: Point, full: Sequence[float]) -> list[Any]:
    """Loss of quality on the test split, bytes and latency as shares of the full model's."""
    shown = [_mean(full) - point.quality, point.bytes_ratio, point.latency_ratio]
    return [*shown, "busy machine"] if point.problem else shown


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _run(part: str, options: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    python = python_beside("compress_search", packages=(*PACKAGES, NEURAL_COMPRESSOR), alone=MODELS[:1])
    sources = os.pathsep.join([str(HERE.parent), str(Path(ayni.__file__).parent.parent)])
    return run_alone(
        [str(python), "-m", f"{PEERS}.compress_{part}", *words],
        seconds=seconds,
        environment={"PYTHONPATH": sources, "OMP_NUM_THREADS": "1"},
    )


BENCHMARK = Benchmark(
    name="compress_search",
    topic="compression",
    bar="a small CNN and MiniLM, equal time: of each point of NNCF and Neural Compressor one of ours is at "
    "least as good in quality, bytes and latency",
    seconds_quick=900,
    seconds_full=4200,
    measure=measure,
)
