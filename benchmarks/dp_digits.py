"""How accurate a model of 1,300 digits can be with differential privacy, at epsilon 8 and at epsilon 1.

Training is `train` as a job runs it, with `train.privacy`: Poisson sampling, clipping and noise by Opacus,
the PRV accountant, noise made for exactly the steps of the job. Of a few settings, the one with the best
mean accuracy on 197 validation digits over the seeds is chosen for each epsilon, and judged on 300 test
digits that nobody looked at before.

Logistic regression without privacy stands beside, as what privacy costs.

Not covered: the choice of settings, which is not charged to epsilon.
"""

import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.registry import Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.result import TrainResult

DELTA = 1e-5
BATCH, ROUNDS, LOCAL_STEPS = 256, 4, 50
BARS = {8.0: 0.94, 1.0: 0.86}
# Student's t for 95 % and four degrees of freedom.
T_OF_FIVE = 2.776


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is tried at an epsilon."""

    model: str
    learning_rate: float

    def __str__(self) -> str:
        return f"{self.model}, learning rate {self.learning_rate:g}"


SETTINGS = {
    8.0: (
        Setting(model="cnn", learning_rate=0.01),
        Setting(model="cnn", learning_rate=0.02),
        Setting(model="cnn", learning_rate=0.04),
        Setting(model="linear", learning_rate=0.05),
    ),
    1.0: (
        Setting(model="linear", learning_rate=0.02),
        Setting(model="linear", learning_rate=0.03),
        Setting(model="linear", learning_rate=0.05),
        Setting(model="cnn", learning_rate=0.02),
    ),
}


def measure(quick: bool) -> Outcome:
    """Test accuracy of the chosen setting at each epsilon, five seeds."""
    seeds = (0, 1) if quick else (0, 1, 2, 3, 4)
    values: dict[str, Any] = {"delta": DELTA, "train_records": 1300}
    is_met = True
    for epsilon, bar in BARS.items():
        tried: dict[Setting, list[tuple[float, float, float]]] = {}
        for setting in SETTINGS[epsilon][1:3] if quick else SETTINGS[epsilon]:
            tried[setting] = [_one(setting, epsilon, seed) for seed in seeds]
        chosen = max(tried, key=lambda setting: statistics.mean(found[0] for found in tried[setting]))
        tests = [found[1] for found in tried[chosen]]
        mean, key = statistics.mean(tests), f"epsilon_{epsilon:g}"
        values |= {
            f"{key}_setting": str(chosen),
            f"{key}_accuracy": mean,
            f"{key}_half_interval": T_OF_FIVE * statistics.stdev(tests) / math.sqrt(len(tests)),
            f"{key}_spent": max(found[2] for found in tried[chosen]),
        }
        values |= {
            f"{key}_validation_{setting.model}_{setting.learning_rate:g}": statistics.mean(
                found[0] for found in all_found
            )
            for setting, all_found in tried.items()
        }
        is_met = is_met and mean >= bar and values[f"{key}_spent"] <= epsilon
    values["logistic_regression_without_privacy"] = statistics.mean(map(_logistic_regression, seeds))
    return Outcome(values=values, seeds=seeds, met=is_met)


def _one(setting: Setting, epsilon: float, seed: int) -> tuple[float, float, float]:
    """Accuracy on validation and test, and the epsilon that was spent."""
    from ayni.compress.artefacts import load_full_model
    from ayni.task import TaskReference
    from ayni.train.local import batches
    from benchmarks.private_digits import TASK_FILE

    reference = TaskReference(module_path=TASK_FILE, object_name=f"{setting.model}_{seed}")
    with tempfile.TemporaryDirectory() as folder:
        result = _train(reference, setting, epsilon, seed, Path(folder))
        task = reference.load()
        model = load_full_model(task, Path(result.model_path))
        test = task.evaluate(model, batches(task.dataset("test"), 256))["accuracy"]
    assert result.privacy is not None
    return result.metrics["accuracy"], test, result.privacy["epsilon"]


def _train(reference: Any, setting: Setting, epsilon: float, seed: int, folder: Path) -> "TrainResult":
    from ayni.train.config import TrainConfig
    from ayni.train.in_process_engine import InProcessEngine
    from ayni.train.privacy_config import PrivacyConfig
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    config = TrainConfig(
        learners=1,
        rounds=ROUNDS,
        local_steps=LOCAL_STEPS,
        batch_size=BATCH,
        device="cpu",
        learning_rate=setting.learning_rate,
        weight_decay=0.0,
        gradient_clip=None,
        # One learner: the outer step takes over what it found.
        outer_learning_rate=1.0,
        outer_momentum=0.0,
        codec="fp32",
        privacy=PrivacyConfig(epsilon=epsilon, delta=DELTA, spare_attempts=0),
    )
    return train(
        reference,
        config,
        seed=seed,
        folder=folder / "train",
        spill_folder=folder / "spill",
        engine=InProcessEngine(),
        observer=SilentObserver(),
    )


def _logistic_regression(seed: int) -> float:
    from ayni.data.baseline import Baseline, fit_baseline
    from benchmarks.private_digits import PrivateDigits

    found = fit_baseline(PrivateDigits("linear", seed), seed=seed)
    assert isinstance(found, Baseline)
    return found.metrics["accuracy"]


BENCHMARK = Benchmark(
    name="dp_digits",
    topic="training: differential privacy",
    bar="digits, 1,300 training records, delta 1e-5, settings chosen on validation digits, 5 seeds: at least "
    "94 % at epsilon 8 and 86 % at epsilon 1",
    seconds_quick=60,
    seconds_full=400,
    measure=measure,
)
