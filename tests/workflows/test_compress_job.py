"""The job that `ayni compress` writes: what it holds, where it is, and what is refused before."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from ayni import wiring
from ayni.compress.config import preferred_score
from ayni.errors import UserError
from ayni.hub.names import RepositoryNameError
from ayni.jobs.loading import load_job
from ayni.jobs.problems import BadJobError
from ayni.market.offers import InvalidDurationError
from ayni.task import TaskImportError
from ayni.workflows.compress_job import (
    CompressOptionError,
    CompressRequest,
    JobInTheWayError,
    WrittenJob,
    parse_steps,
    write_compress_job,
)
from ayni.workflows.house import House

STEPS = "fold; quantize: {bits: 8}"
TASK = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

from points_data import CORNER


class Pictures:
    """Is the brighter half of a picture of 4 x 4 the left or the right one?"""

    def build_model(self):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))

    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        pictures = torch.rand(40, 1, 4, 4, generator=generator) + CORNER
        left, right = (half.sum((1, 2, 3)) for half in pictures.chunk(2, dim=3))
        return TensorDataset(pictures, (right > left).long())

    def loss(self, model, batch):
        pictures, right = batch
        return nn.functional.cross_entropy(model(pictures), right)

    def evaluate(self, model, batches):
        pairs = [(model(pictures).argmax(1) == right) for pictures, right in batches]
        return {"accuracy": float(torch.cat(pairs).float().mean())}

    def example_input(self):
        return torch.zeros(1, 1, 4, 4)
'''


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type the command in: task.py, a module beside it, and weights that answer well."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "points_data.py").write_text("CORNER = 0.0\n")
    kernel = torch.zeros(4, 1, 3, 3)
    kernel[:, 0, 1, 1] = 1.0
    side = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(16)
    weights = {"0.weight": kernel, "0.bias": torch.zeros(4)}
    weights |= {"3.weight": torch.stack([side, -side]), "3.bias": torch.zeros(2)}
    save_file(weights, folder / "halves.safetensors")
    monkeypatch.chdir(folder)
    return folder


REQUEST = CompressRequest(model="halves.safetensors", task="task.py:Pictures")


def write(house: House, **values: Any) -> WrittenJob:
    return write_compress_job(replace(REQUEST, **values), hub=house.hub, runs=house.runs)


def job_of(written: WrittenJob) -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(written.path.read_text())
    return job


def test_the_job_begins_with_the_model_and_searches(house: House, work: Path) -> None:
    written = write(house)

    assert written.path == Path("halves-compress/job.yaml")
    spec = load_job(written.path).spec
    assert (spec.name, spec.task, spec.model) == ("halves", "task:Pictures", str(work / "halves.safetensors"))
    assert spec.compress is not None and spec.compress.search is not None
    assert (spec.compress.search.seconds, spec.compress.search.trains) == (600.0, True)
    assert (spec.metric.better, spec.publish) == ("higher", None)


def test_what_is_asked_for_stands_in_the_job(house: House, work: Path) -> None:
    written = write(
        house,
        max_drop=0.5,
        better="lower",
        prefer="latency",
        inferences=1000,
        budget="1h30m",
        budget_joules=50.0,
        trials=3,
        trains=False,
        name="small",
        output=work / "elsewhere" / "here",
        publish="me/small",
        licence="apache-2.0",
    )

    assert written.path == work / "elsewhere" / "here" / "job.yaml"
    job = job_of(written)
    assert (job["name"], job["metric"]) == ("small", {"better": "lower"})
    assert job["publish"] == {"repository": "me/small", "licence": "apache-2.0"}
    assert job["compress"] == {
        "max_accuracy_drop": 0.5,
        "inferences": 1000,
        "search": {"prefer": "latency", "seconds": 5400.0, "joules": 50.0, "trials": 3, "trains": False},
    }


def test_named_steps_take_the_place_of_a_search(house: House, work: Path) -> None:
    job = job_of(write(house, steps="prune: {channels: 0.5}; distill; quantize: {}", prefer="bytes"))

    assert job["compress"]["steps"] == [{"prune": {"channels": 0.5}}, {"distill": {}}, {"quantize": {}}]
    assert job["compress"]["score"] == preferred_score("bytes")
    assert "search" not in job["compress"]


def test_names_that_yaml_takes_for_something_else_stay_texts(house: House, work: Path) -> None:
    for name in ("1e3", "true", "null", "0x10"):
        assert load_job(write(house, name=name, output=work / f"job-{name}").path).spec.name == name


def test_a_name_that_no_job_may_have_is_made_one(house: House, work: Path) -> None:
    (work / "halves.safetensors").rename(work / ".my best model!.safetensors")

    assert job_of(write(house, model=".my best model!.safetensors"))["name"] == "my-best-model"


def test_the_task_is_linked_so_that_its_neighbours_are_found(house: House, work: Path) -> None:
    written = write(house)

    assert (written.path.parent / "task.py").readlink() == work / "task.py"
    assert type(load_job(written.path).task.load()).__name__ == "Pictures"


def test_the_same_command_finds_its_own_job_again(house: House, work: Path) -> None:
    first, second = write(house), write(house)

    assert second == WrittenJob(path=first.path, new_files=())
    second.remove()
    assert first.path.exists()


def test_another_job_is_never_written_over(house: House, work: Path) -> None:
    first = write(house)
    before = first.path.read_bytes()

    with pytest.raises(JobInTheWayError, match=r"halves-compress/job\.yaml is there already .* --output"):
        write(house, max_drop=0.5)

    assert first.path.read_bytes() == before


def test_a_task_in_the_chosen_folder_is_never_written_over(house: House, work: Path) -> None:
    with pytest.raises(JobInTheWayError, match=r"task\.py is there already"):
        write(house, output=Path())

    assert (work / "task.py").read_text() == TASK
    assert not (work / "job.yaml").exists()


def test_a_job_that_is_taken_back_leaves_what_was_there_before(house: House, work: Path) -> None:
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").touch()

    write(house, output=Path("mine")).remove()
    write(house).remove()

    assert [path.name for path in (work / "mine").iterdir()] == ["notes.txt"]
    assert not (work / "halves-compress").exists()
    assert (work / "task.py").exists()


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (
            {"max_drop": -0.1},
            CompressOptionError,
            r"--max-drop: -0\.1 cannot be a budget.*0\.01 for one point",
        ),
        ({"max_drop": float("nan")}, CompressOptionError, "--max-drop: nan"),
        ({"licence": "mit"}, CompressOptionError, "nothing to license without --publish"),
        ({"publish": "digits"}, RepositoryNameError, "namespace/name"),
        ({"budget": "soon"}, InvalidDurationError, "like 90s"),
        ({"budget_joules": -1.0}, CompressOptionError, "cannot be negative"),
        ({"trials": 0}, CompressOptionError, "at least 1"),
        ({"steps": STEPS, "budget": "10m"}, CompressOptionError, "--budget: this is of a search"),
        ({"steps": STEPS, "trains": False}, CompressOptionError, "--no-training: this is of a search"),
        ({"steps": "prun: {channels: 0.5}"}, CompressOptionError, "did you mean 'prune'"),
        ({"steps": "prune: {chanels: 0.5}"}, CompressOptionError, r"'channels'"),
        ({"steps": "prune: {channels: 2}"}, CompressOptionError, "between 0 and 1"),
        ({"steps": " ; "}, CompressOptionError, "names no step"),
        ({"steps": "[1, 2]"}, CompressOptionError, "is no step"),
        ({"steps": "quantize; prune"}, BadJobError, "cannot follow quantize"),
        ({"name": "a b"}, BadJobError, "letters, digits"),
        ({"inferences": 0}, BadJobError, "at least 1"),
        ({"publish": "me/small", "licence": "my own"}, BadJobError, "licence"),
    ],
)
def test_an_option_that_is_impossible_is_refused_and_nothing_is_written(
    house: House, work: Path, values: dict[str, Any], error: type[UserError], text: str
) -> None:
    with pytest.raises(error, match=text):
        write(house, **values)

    assert not list(work.glob("*-compress"))


def test_a_bare_name_of_a_step_takes_all_its_defaults() -> None:
    assert parse_steps("fold; quantize: {bits: 4};") == [{"fold": {}}, {"quantize": {"bits": 4}}]


def test_a_task_that_cannot_be_had_leaves_neither_job_nor_run(home: Path, work: Path) -> None:
    with pytest.raises(TaskImportError, match="Did you mean 'Pictures'"):
        wiring.compress(replace(REQUEST, task="task.py:Picture"))
    with pytest.raises(TaskImportError):
        wiring.compress_plan(replace(REQUEST, task="task.py:Picture"))

    assert not list(work.glob("*-compress"))
    assert wiring.runs_list() == []


def test_a_plan_leaves_its_job_to_be_run(home: Path, work: Path) -> None:
    found = wiring.compress_plan(replace(REQUEST, steps="quantize"))

    assert Path(found["job"]).exists()
    assert [row["step"] for row in found["plan"]["rows"]] == ["train", "compress", "explain"]
    assert wiring.runs_list() == []


@pytest.mark.slow
def test_a_compression_is_an_ordinary_run_that_reports_and_can_be_verified(home: Path, work: Path) -> None:
    run = wiring.compress(replace(REQUEST, steps="quantize", max_drop=0.1))

    assert run["status"] == "finished"
    assert run["train"]["strategy"] == "none"
    assert [variant["name"] for variant in run["variants"]] == ["full", "full-onnx", "int8"]
    assert run["variants"][0]["metrics"]["accuracy"] == 1.0
    assert Path(run["report"]).exists()
    assert wiring.verify("latest")["ok"]


@pytest.mark.slow
def test_a_published_model_is_searched_and_the_result_published_and_loaded(home: Path, work: Path) -> None:
    first = replace(REQUEST, steps="quantize", publish="me/halves", licence="mit", max_drop=0.1)
    wiring.compress(first)
    shutil.rmtree(work / "halves-compress")

    run = wiring.compress(
        CompressRequest(model="me/halves", max_drop=0.05, budget="20s", trials=2, publish="me/small")
    )

    shown = wiring.compress_show("latest")
    assert shown["run"] == run["run"]
    assert shown["search"]["num_measured"] == 2
    assert shown["chosen"] in [variant["name"] for variant in shown["variants"]]
    answer = wiring.load("me/small", variant=shown["chosen"])(torch.ones(1, 1, 4, 4))
    assert tuple(answer.shape) == (1, 2)
    # What the hub has was copied: the job's folder needs nothing of it.
    assert (work / "halves-compress" / "task.py").is_file()
    assert not (work / "halves-compress" / "task.py").is_symlink()


def test_a_run_that_was_stopped_keeps_its_job(home: Path, work: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        wiring.compress(replace(REQUEST, steps="quantize"), approve=_interrupt)

    assert (work / "halves-compress" / "job.yaml").exists()
    assert wiring.runs_list()[0]["status"] == "interrupted"


def _interrupt(_plan: object) -> bool:
    raise KeyboardInterrupt
