"""The explain step on small models whose reasons are known."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.explain.explaining import explain
from ayni.explain.explanation import ExplainResult
from ayni.task import TaskFailedError

NUM_TEST = 30


class Corners:
    """Is the bright corner of a 6 x 6 image at the top left (0) or at the bottom right (1)?"""

    def __init__(self, examples: list[Any] | None = None) -> None:
        self.examples = examples

    def build_model(self) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False))
        with torch.no_grad():
            model[1].weight.zero_()
            model[1].weight[0, 0] = model[1].weight[1, 35] = 5.0
        return model

    def dataset(self, split: str) -> list[Any]:
        if self.examples is not None:
            return self.examples
        images = 0.1 * torch.rand(NUM_TEST, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        for row, image in enumerate(images):
            image[0, *((0, 0) if row % 2 == 0 else (5, 5))] = 1.0
        return [(image, torch.tensor(row % 2)) for row, image in enumerate(images)]

    def labels(self) -> list[str]:
        return ["top left", "bottom right"]


def explained(
    task: Any, folder: Path, variant: Callable[..., Any] | None = None, num_samples: int = 4
) -> ExplainResult:
    model = Corners().build_model()
    return explain(task, model, variant=variant, num_samples=num_samples, seed=3, folder=folder)


def always_bottom_right(inputs: torch.Tensor) -> torch.Tensor:
    return torch.tensor([0.0, 1.0]).expand(len(inputs), 2)


def test_samples_are_drawn_named_and_attributed_to_the_corner_that_decides(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path / "explain")

    assert [item.kind for item in result.items] == ["sample"] * 4
    for item in result.items:
        assert item.label == item.prediction == ["top left", "bottom right"][item.index % 2]
        assert item.confidence > 0.9
        assert (tmp_path / "explain" / str(item.input_image)).read_bytes().startswith(b"\x89PNG")
        values = np.load(tmp_path / "explain" / str(item.attribution_file))
        assert values.argmax() == (0 if item.index % 2 == 0 else 35)
    assert result.checks is not None
    assert result.checks.verdict == "faithful"


def test_the_symbols_of_a_text_have_the_names_that_the_task_gives(tmp_path: Path) -> None:
    class Words:
        def build_model(self) -> nn.Module:
            torch.manual_seed(0)
            return nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(9, 2))

        def dataset(self, split: str) -> list[Any]:
            return [(torch.tensor([1 + row % 3, 2, 0]), torch.tensor(row % 2)) for row in range(12)]

        def labels(self) -> list[str]:
            return ["praise", "complaint"]

        def symbols(self) -> list[str]:
            return ["", "fine", "food", "bad"]

    task: Any = Words()
    result = explain(task, task.build_model(), variant=None, num_samples=2, seed=0, folder=tmp_path)

    for item in result.items:
        assert item.tokens == [["fine", "food", "bad"][item.index % 3], "food", ""]
        assert item.prediction in ("praise", "complaint")


def test_disagreements_are_counted_over_all_and_shown_up_to_the_number_asked(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path, variant=always_bottom_right)

    disagreements = [item for item in result.items if item.kind == "disagreement"]
    assert (result.num_compared, result.num_disagreements) == (NUM_TEST, NUM_TEST // 2)
    assert len(disagreements) == 4
    assert {(item.prediction, item.variant_prediction) for item in disagreements} == {
        ("top left", "bottom right")
    }


def test_without_a_variant_nothing_is_compared_and_that_is_not_called_zero(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path)

    assert result.num_compared == 0
    assert result.num_disagreements is None
    assert all(item.variant_prediction is None for item in result.items)


def test_a_variant_that_agrees_has_zero_disagreements(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path, variant=Corners().build_model())

    assert result.num_disagreements == 0


def test_the_same_seed_explains_the_same_examples(tmp_path: Path) -> None:
    first, second = explained(Corners(), tmp_path / "a"), explained(Corners(), tmp_path / "b")

    assert first.to_json() == second.to_json()


def test_more_samples_than_examples_shows_them_all(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path, num_samples=100)

    assert [item.index for item in result.items] == list(range(NUM_TEST))


def test_no_samples_still_compare_and_attribute_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without Captum an attribution fails.
    monkeypatch.setitem(sys.modules, "captum.attr", None)

    result = explained(Corners(), tmp_path / "explain", variant=always_bottom_right, num_samples=0)

    assert (result.num_compared, result.num_disagreements) == (NUM_TEST, NUM_TEST // 2)
    assert (result.items, result.method, result.checks) == ([], None, None)
    assert "0 samples" in result.note
    assert not (tmp_path / "explain").exists()


def test_json_gives_the_same_result_back(tmp_path: Path) -> None:
    result = explained(Corners(), tmp_path, variant=always_bottom_right)

    written = json.loads(json.dumps(result.to_json()))

    assert ExplainResult.from_json(written).to_json() == written
    assert written["checks"]["verdict"] == "faithful"


def test_a_result_from_before_there_were_curves_is_read(tmp_path: Path) -> None:
    written = explained(Corners(), tmp_path).to_json()
    for key in ("checks", "changed", "importance", "method_key"):
        del written[key]
    written["deletion"] = {"num_examples": 30, "fraction": 0.2, "is_faithful": True}

    found = ExplainResult.from_json(written)

    assert found.checks is found.method_key is None
    assert len(found.items) == 4


class Sums(nn.Module):
    """Logits that count the symbols seen so far: the last place answers with the most frequent one."""

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        counts = nn.functional.one_hot(symbols, 5).float().cumsum(1)
        # Symbol 0 stands for a removed one.
        return counts * torch.tensor([0.0, 1, 1, 1, 1])


def test_of_text_the_last_place_is_explained_by_the_symbols_that_speak_for_it(tmp_path: Path) -> None:
    text = torch.tensor([1, 2, 3, 2, 4, 2])
    task: Any = Corners([(text, torch.tensor([2, 3, 2, 4, 2, 2]))])

    result = explain(task, Sums(), variant=None, num_samples=1, seed=0, folder=tmp_path)

    (item,) = result.items
    assert item.label == item.prediction == "2"
    assert np.load(tmp_path / str(item.attribution_file)).tolist() == [0, 1, 0, 1, 0, 1]
    assert (item.tokens, item.values) == (["1", "2", "3", "2", "4", "2"], [0, 1, 0, 1, 0, 1])
    assert "last place" in result.note


class Letters(Corners):
    """Text whose symbols have names."""

    def labels(self) -> list[str]:
        return ["-", "a", " ", "b", "\n"]


def test_symbols_have_the_tasks_names_when_there_are_as_many_as_the_model_writes(tmp_path: Path) -> None:
    text = torch.tensor([1, 2, 3, 2, 4, 2])
    task: Any = Letters([(text, text)])

    (item,) = explain(task, Sums(), variant=None, num_samples=1, seed=0, folder=tmp_path).items

    assert item.tokens == ["a", " ", "b", " ", "\n", " "]
    assert item.prediction == " "


class Verdict(nn.Module):
    """Two classes for a text of five symbols: do the symbols add up to much?"""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Embedding(5, 2)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.weights(symbols).sum(1)
        return logits


def test_names_of_classes_are_not_taken_for_names_of_symbols(tmp_path: Path) -> None:
    task: Any = Corners([(torch.tensor([0, 1, 4]), torch.tensor(1))])

    (item,) = explain(task, Verdict(), variant=None, num_samples=1, seed=0, folder=tmp_path).items

    assert item.tokens == ["0", "1", "4"]
    assert item.label == "bottom right"


def test_of_a_long_text_the_end_is_shown_and_the_note_says_so(tmp_path: Path) -> None:
    text = torch.randint(1, 5, (230,))
    task: Any = Corners([(text, text)])

    result = explain(task, Sums(), variant=None, num_samples=1, seed=0, folder=tmp_path)

    assert result.items[0].tokens == [str(int(symbol)) for symbol in text[-200:]]
    assert len(result.items[0].values or []) == 200
    assert "last 200 of 230 places" in result.note


class Table(Corners):
    """Rows of 36 numbers of which the first and the last decide."""

    def __init__(self, num_names: int) -> None:
        super().__init__([(torch.linspace(1, 2, 36), torch.tensor(0)) for _ in range(3)])
        self.num_names = num_names

    def feature_names(self) -> list[str]:
        return [f"column {letter}" for letter in range(self.num_names)]


def test_a_row_of_a_table_shows_its_strongest_features_by_name(tmp_path: Path) -> None:
    result = explained(Table(num_names=36), tmp_path)

    item = result.items[0]
    assert (item.input_image, item.attribution_image, item.tokens) == (None, None, None)
    assert item.features is not None and len(item.features) == 8
    first, second = item.features[:2]
    # The answer is "bottom right", whose weight of 5 is on the last number.
    assert (first.name, first.value) == ("column 35", 2.0)
    assert first.attribution == pytest.approx(10.0, rel=1e-3)
    assert abs(second.attribution) < 1e-3
    assert np.load(tmp_path / str(item.attribution_file)).shape == (36,)


def test_names_that_are_not_one_for_each_feature_are_not_used_and_the_note_says_so(tmp_path: Path) -> None:
    result = explained(Table(num_names=35), tmp_path)

    assert result.items[0].features is not None
    assert result.items[0].features[0].name == "feature 35"
    assert "names 35, an input has 36" in result.note


def test_json_gives_features_back_and_reads_what_was_written_before_there_were_any(tmp_path: Path) -> None:
    result = explained(Table(num_names=36), tmp_path)
    written = json.loads(json.dumps(result.to_json()))

    assert ExplainResult.from_json(written) == result
    for item in written["items"]:
        del item["tokens"], item["values"], item["features"]
    assert ExplainResult.from_json(written).items[0].features is None


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        ([], "empty"),
        (["text"], "not a pair"),
        ([({"a": 1}, 0)], "not a pair"),
        ([(torch.zeros(36), 0), (torch.zeros(12), 0)], "different shapes"),
    ],
)
def test_what_cannot_be_explained_is_said_and_is_no_crash(
    examples: list[Any], reason: str, tmp_path: Path
) -> None:
    result = explained(Corners(examples), tmp_path)

    assert result.method is None
    assert result.items == []
    assert reason in result.note


def test_a_model_that_takes_both_of_a_pair_is_not_explained_and_the_note_says_why(tmp_path: Path) -> None:
    pairs = [(torch.zeros(2, 3), torch.ones(2, 3))]

    result = explain(
        Corners(pairs), nn.Bilinear(3, 3, 2), variant=None, num_samples=4, seed=3, folder=tmp_path
    )

    assert result.items == []
    assert "does not take the first of a pair alone (TypeError)" in result.note


def test_a_dataset_that_raises_is_the_tasks_failure(tmp_path: Path) -> None:
    class Broken(Corners):
        def dataset(self, split: str) -> list[Any]:
            raise OSError("file is gone")

    with pytest.raises(TaskFailedError, match="file is gone"):
        explained(Broken(), tmp_path)


class Masked(nn.Module):
    """A text's places are averaged, but for those of padding: a text of padding has no mean."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(5, 4, padding_idx=0)
        self.head = nn.Linear(4, 2)
        self.fails = fails

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        seen = (symbols != 0)[..., None]
        if self.fails and not seen.any(1).all():
            raise RuntimeError("a text without words")
        logits: torch.Tensor = self.head((self.words(symbols) * seen).sum(1) / seen.sum(1))
        return logits


@pytest.mark.parametrize(
    ("fails", "reason"), [(True, "fails on an input without parts (RuntimeError)"), (False, "is not finite")]
)
def test_a_model_that_cannot_do_without_parts_is_explained_and_said_to_be_unchecked(
    fails: bool, reason: str, tmp_path: Path
) -> None:
    task: Any = Corners([(torch.tensor([1, 2, 3, 4]), 0), (torch.tensor([4, 3, 2, 1]), 1)])

    result = explain(task, Masked(fails=fails).eval(), variant=None, num_samples=2, seed=0, folder=tmp_path)

    assert len(result.items) == 2
    assert result.checks is None
    assert "Not checked" in result.note and reason in result.note
    assert result.method_key == ("ablation" if fails else "layer_integrated_gradients")
    assert "last place" not in result.note


def test_pictures_of_whole_numbers_are_ablated_and_drawn(tmp_path: Path) -> None:
    class Bytes(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen = image.float().flatten(1) / 255
            return torch.stack([seen[:, 0], seen[:, -1]], 1) * 9

    images = torch.zeros(4, 3, 6, 6, dtype=torch.uint8)
    images[:, :, 0, 0] = 255
    task: Any = Corners([(image, 0) for image in images])

    result = explain(task, Bytes(), variant=None, num_samples=1, seed=0, folder=tmp_path)

    assert result.method_key == "ablation"
    assert "no nn.Embedding" in result.note
    (item,) = result.items
    assert (tmp_path / str(item.attribution_image)).exists()
    assert np.load(tmp_path / str(item.attribution_file)).argmax() % 36 == 0
