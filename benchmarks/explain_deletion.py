"""Do the attributions that Ayni ships name what an answer rests on, for every example with images?

Each example's own network is trained as its task says, from one seed, and explained on 64 test images that
it never saw, by every method that fits it. Parts are deleted in the order of the attribution, and in
random order among the parts that are not blank (random ink): the area below the first curve has to be
smaller. Beside it the insertion curve, the randomisation, the error of the sum, and the verdict that a
report would show.

As controls, a random map and the map of a network that was never trained: neither may be called faithful.

The task with few examples (transfer) goes on from the weights of its sibling, as its job does. An example
whose data is not here is left out and named; that of Keras, because explanations do not reach its models.

Not covered: text and rows of a table; the recipe of the examples' jobs (plain AdamW instead of DiLoCo).
"""

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.registry import HERE, Benchmark, Outcome

if TYPE_CHECKING:
    from torch import nn

    from ayni.explain.attribution import Attributed, Method
    from ayni.explain.explanation import SanityChecks

EXAMPLES = HERE.parent / "examples"
NUM_IMAGES = 64
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A task of an example, how long it is trained, and the task whose weights it begins with."""

    folder: str
    task: str
    steps: int
    start: str | None = None


ARMS = (
    Arm(folder="digits", task="Digits", steps=300),
    Arm(folder="fashion", task="Fashion", steps=800),
    Arm(folder="transfer", task="LowDigits", steps=400),
    Arm(folder="transfer", task="FewHighDigits", steps=200, start="LowDigits"),
)
LEFT_OUT = {"keras_digits": "its model is one of Keras, and explanations look into models of torch"}
CONTROLS = ("control_random", "control_untrained")


def measure(quick: bool) -> Outcome:
    """Areas of all methods on all examples with images: means over the seeds, and the worst seed."""
    from threadpoolctl import threadpool_limits

    from ayni.train.local import one_thread

    seeds = (0,) if quick else (0, 1, 2)
    values: dict[str, Any] = {f"left_out_{name}": reason for name, reason in LEFT_OUT.items()}
    is_met = True
    with one_thread(), threadpool_limits(1):
        for arm in ARMS:
            name = f"{arm.folder}_{arm.task}"
            if reason := _why_absent(arm):
                values[f"left_out_{name}"] = reason
                continue
            runs = [_checked(arm, seed) for seed in seeds]
            values[f"{name}_accuracy"] = statistics.mean(accuracy for accuracy, _ in runs)
            for key in runs[0][1]:
                checks = [found[key] for _, found in runs]
                values |= {f"{name}_{key}_{what}": value for what, value in _summary(key, checks).items()}
                is_met = is_met and _is_good(key, checks)
    return Outcome(values=values, seeds=seeds, met=is_met)


def _is_good(key: str, checks: "list[SanityChecks]") -> bool:
    if key in CONTROLS:
        return all(check.verdict != "faithful" for check in checks)
    return all(check.deletion.area_attributed < check.deletion.area_random for check in checks)


def _summary(key: str, checks: "list[SanityChecks]") -> dict[str, Any]:
    verdicts: dict[str, Any] = {"verdicts": [check.verdict for check in checks]}
    if key in CONTROLS:
        return verdicts
    gains = [check.deletion.area_random - check.deletion.area_attributed for check in checks]
    found: dict[str, Any] = {
        "deletion_area": statistics.mean(check.deletion.area_attributed for check in checks),
        "deletion_area_random_ink": statistics.mean(check.deletion.area_random for check in checks),
        "deletion_gain_worst_seed": min(gains),
        "insertion_area": statistics.mean(check.insertion.area_attributed for check in checks),
        "insertion_area_random_ink": statistics.mean(check.insertion.area_random for check in checks),
    }
    found |= _largest("randomisation_worst_seed", [check.randomisation_correlation for check in checks])
    found |= _largest("completeness_error_worst_seed", [check.completeness_error for check in checks])
    return found | verdicts


def _largest(name: str, values: "list[float | None]") -> dict[str, float]:
    known = [value for value in values if value is not None]
    return {name: max(known)} if known else {}


def _why_absent(arm: Arm) -> str:
    try:
        _task(arm.folder, arm.task).dataset("test")
    except (FileNotFoundError, ImportError) as error:
        return str(error)
    return ""


def _task(folder: str, name: str) -> Any:
    from ayni.task import TaskReference

    return TaskReference(module_path=EXAMPLES / folder / "task.py", object_name=name).load()


def _checked(arm: Arm, seed: int) -> "tuple[float, dict[str, SanityChecks]]":
    """Test accuracy, and the checks of each method that fits and of the controls."""
    import torch

    from ayni.explain.attribution import Attributed
    from ayni.explain.choosing import fitting_methods
    from ayni.explain.parts import Parts
    from ayni.train.local import batches

    task = _task(arm.folder, arm.task)
    start = None if arm.start is None else _trained(replace(arm, task=arm.start, steps=400), seed, None)
    model = _trained(arm, seed, start)
    test = task.dataset("test")
    accuracy = task.evaluate(model, batches(test, 256))["accuracy"]
    rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))[:NUM_IMAGES]
    images = torch.stack([test[int(row)][0] for row in rows])
    with torch.no_grad():
        classes = model(images).argmax(1)
    methods: dict[str, Method] = {str(key): each for key, each in fitting_methods(model, images[:1]).items()}
    found = {}
    for key, method in (methods | _controls(methods["integrated_gradients"], task, model, seed)).items():
        attributed = Attributed(
            parts=Parts(inputs=images, reference=0),
            values=method.attribute(model, images, classes),
            classes=classes,
            method=method,
        )
        found[key] = _check(model, attributed, seed)
    return accuracy, found


def _check(model: "nn.Module", attributed: "Attributed", seed: int) -> "SanityChecks":
    import numpy as np

    from ayni.explain.sanity import Effort, check_attributions

    return check_attributions(model, attributed, effort=Effort(), rng=np.random.default_rng(seed))


def _controls(usual: "Method", task: Any, model: "nn.Module", seed: int) -> "dict[str, Method]":
    """Maps that explain nothing: noise, and the map of another network that was never trained.

    Of a re-initialised network the second is that network's own map, so that not the randomisation alone
    tells.
    """
    import torch

    from ayni.train.learner import build_model

    noise = torch.Generator().manual_seed(seed)
    untrained = build_model(task, seed=seed + 1000).eval()
    return {
        "control_random": replace(
            usual, is_complete=False, attribute=lambda _, x, classes: torch.randn(x.shape, generator=noise)
        ),
        "control_untrained": replace(
            usual,
            is_complete=False,
            attribute=lambda asked, x, classes: usual.attribute(
                untrained if asked is model else asked, x, classes
            ),
        ),
    }


def _trained(arm: Arm, seed: int, start: "nn.Module | None") -> "nn.Module":
    """The task's model after so many steps of AdamW, in evaluation mode."""
    import torch

    from ayni.train.learner import build_model
    from ayni.train.local import collate

    task = _task(arm.folder, arm.task)
    model = build_model(task, seed=seed)
    if start is not None:
        model.load_state_dict(start.state_dict())
    model.train()
    train, generator = task.dataset("train"), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arm.steps)
    with torch.random.fork_rng(devices=[]):
        # Tasks move their images at random.
        torch.manual_seed(seed)
        for _ in range(arm.steps):
            rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
            optimizer.zero_grad()
            task.loss(model, collate([train[int(row)] for row in rows])).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


BENCHMARK = Benchmark(
    name="explain_deletion",
    topic="explain",
    bar="every method that fits, every example with images, every seed: area below the deletion curve "
    "smaller than of random ink; neither a random map nor that of an untrained network called faithful",
    seconds_quick=60,
    seconds_full=300,
    measure=measure,
)
