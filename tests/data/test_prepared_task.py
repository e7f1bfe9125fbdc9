"""The user's task with the job's data and augmentation."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayni.data.augmentation.policy import AugmentConfig
from ayni.data.config import DataConfig
from ayni.data.preparation import DataChangedError, DataPreparation, prepare_data
from ayni.data.prepared_task import PreparationError, PreparedTask
from ayni.data.sources.collection import SourceError
from ayni.data.sources.file_trees import NoSuchSourceError


class Recorder:
    """A task whose loss keeps what it was given."""

    value_range = (0.0, 1.0)

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def build_model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))

    def dataset(self, split: str) -> list[Any]:
        generator = torch.Generator().manual_seed(len(split))
        return [(torch.rand(1, 8, 8, generator=generator), row % 3) for row in range(30)]

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        self.batches.append(batch)
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(model(inputs), labels)

    def evaluate(self, model: Any, batches: Any) -> Mapping[str, float]:
        return {"accuracy": 0.5}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 1, 8, 8)


class OnlyNumbers(Recorder):
    """Takes class numbers alone."""

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        return torch.nn.functional.nll_loss(model(inputs).log_softmax(1), labels)


def prepared(task: Any = None, **augment: Any) -> PreparedTask:
    config = DataConfig(augment=AugmentConfig(**augment)) if augment else DataConfig()
    return PreparedTask(task or Recorder(), DataPreparation(config=config, content_sha256=None))


def batch(num: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(num, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(num) % 3


def shown(task: PreparedTask, *, training: bool = True, given: Any = None) -> Any:
    """What the user's loss sees of a batch."""
    model = task.build_model().train(training)
    task.loss(model, given or batch())
    return task._task.batches[-1]


def write_table(folder: Path, num: int = 40) -> Path:
    lines = [f"{row},{row % 7},{'rose' if row % 2 else 'iris'}" for row in range(num)]
    path = folder / "flowers.csv"
    path.write_text("\n".join(["length,width,label", *lines]), encoding="utf-8")
    return path


def test_batches_are_augmented_while_the_model_trains_and_never_else() -> None:
    task, (images, labels) = prepared(policy="digits"), batch()

    trained, evaluated = shown(task), shown(task, training=False)

    assert not torch.equal(trained[0], images)
    assert torch.equal(trained[1], labels)
    assert torch.equal(evaluated[0], images)


def test_the_seed_of_the_round_gives_the_same_views_again() -> None:
    task = prepared(policy="randaugment")

    views = []
    for seed in (1, 1, 2):
        model = task.build_model().train()
        torch.manual_seed(seed)
        task.loss(model, batch())
        views.append(task._task.batches[-1][0])

    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_a_share_of_the_batch_is_replaced_and_labels_stay_beside_their_examples() -> None:
    images, labels = batch()

    views, found = shown(prepared(policy="digits", share=0.25))

    is_same = (views == images).flatten(1).all(1)
    assert is_same.sum() == 9
    assert torch.equal(found, labels)


def test_mixed_labels_are_shares_also_of_what_is_not_mixed() -> None:
    _, labels = batch()

    _, found = shown(prepared(operations=({"cutmix": {"probability": 1.0}},), share=0.5))

    whole = torch.nn.functional.one_hot(labels, 3).float()
    assert found.shape == (12, 3)
    assert torch.allclose(found.sum(1), torch.ones(12))
    assert (found == whole).all(1).sum() >= 6


def test_a_loss_that_takes_no_shares_is_told_so() -> None:
    task = prepared(OnlyNumbers(), policy="mixup")

    with pytest.raises(PreparationError, match="does not take labels as shares"):
        task.loss(task.build_model().train(), batch())


@pytest.mark.parametrize(
    ("policy", "given", "message"),
    [
        ("digits", (batch()[0] * 5 - 2, batch()[1]), r"value_range is \(0, 1\)"),
        ("table", batch(), r"float32 \[N, D\]"),
        ("words", batch(), r"whole numbers \[N, T\]"),
        ("digits", {"inputs": batch()[0]}, "two tensors"),
        ("digits", (batch()[0].double(), batch()[1]), "float64"),
    ],
)
def test_batches_that_the_policy_is_not_for_are_refused(policy: str, given: Any, message: str) -> None:
    task = prepared(policy=policy)

    with pytest.raises(PreparationError, match=message):
        task.loss(task.build_model().train(), given)


def test_tokens_and_rows_are_augmented_by_their_policies() -> None:
    class Sums(Recorder):
        def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
            self.batches.append(batch)
            return torch.zeros(())

    tokens, rows = torch.arange(1, 61).view(6, 10), torch.rand(6, 4)
    labels = torch.arange(6) % 2

    seen_tokens, _ = shown(prepared(Sums(), policy="words", strength=3.0), given=(tokens, labels))
    seen_rows, _ = shown(prepared(Sums(), policy="table"), given=(rows, labels))

    assert not torch.equal(seen_tokens, tokens)
    assert seen_tokens.shape == tokens.shape
    assert not torch.equal(seen_rows, rows)


def test_members_that_a_task_may_have_pass_and_others_are_still_missing() -> None:
    task = prepared(policy="digits")

    assert task.value_range == (0.0, 1.0)
    assert len(task.dataset("train")) == 30
    assert task.evaluate(None, []) == {"accuracy": 0.5}
    assert not hasattr(task, "slices")
    assert not hasattr(task, "labels")
    assert task.data_card() == {}


def test_a_source_brings_data_names_and_card(tmp_path: Path) -> None:
    config = DataConfig(source="flowers.csv", licence="mit", validation_share=0.2, test_share=0.3)
    write_table(tmp_path)
    preparation = prepare_data(config, folder=tmp_path)
    assert preparation is not None

    task: Any = preparation.prepare(Recorder())

    assert [len(task.dataset(split)) for split in ("train", "validation", "test")] == [20, 8, 12]
    row, label = task.dataset("train")[3]
    assert torch.equal(row, torch.tensor([row[0], row[0] % 7]))
    assert label == int(row[0]) % 2
    assert task.labels() == ["iris", "rose"]
    assert task.feature_names() == ["length", "width"]
    card = task.data_card()
    assert (card["name"], card["licence"], card["rows"], card["classes"]) == ("flowers.csv", "mit", 40, 2)
    assert card["sha256"] == preparation.content_sha256
    rows = [int(value[0]) for split in ("train", "validation", "test") for value, _ in task.dataset(split)]
    assert sorted(rows) == list(range(40))
    assert isinstance(task.dataset("test")[-1][0], torch.Tensor)
    with pytest.raises(IndexError):
        task.dataset("test")[12]


def test_a_task_may_say_how_its_inputs_are_encoded(tmp_path: Path) -> None:
    (tmp_path / "reviews.txt").write_text("1 good film\n0 bad film\n1 good\n0 bad\n", encoding="utf-8")

    class Encoding(Recorder):
        def encode(self, value: str) -> torch.Tensor:
            return torch.tensor([len(word) for word in value.split()] + [0] * (2 - len(value.split())))

    preparation = prepare_data(
        DataConfig(source="reviews.txt", test_share=0, validation_share=0), folder=tmp_path
    )
    assert preparation is not None

    plain, encoded = preparation.prepare(Recorder()), preparation.prepare(Encoding())

    assert plain.dataset("train")[0] == ("good film", 1)
    assert encoded.dataset("train")[0][0].tolist() == [4, 4]


def test_a_preparation_travels_and_its_hash_covers_data_reading_and_policy(tmp_path: Path) -> None:
    path = write_table(tmp_path)

    def sha256(**keys: Any) -> str:
        found = prepare_data(DataConfig(source="flowers.csv", **keys), folder=tmp_path)
        assert found is not None
        assert pickle.loads(pickle.dumps(found)) == found
        assert DataPreparation.from_json(found.to_json(), DataConfig(source="flowers.csv", **keys)) == found
        return found.sha256

    first = sha256()
    hashes = [first, sha256(seed=1), sha256(augment=AugmentConfig(policy="table")), sha256(test_share=0.2)]
    again = sha256(name="other", licence="mit")
    path.write_text(path.read_text(encoding="utf-8").replace("rose", "tulip"), encoding="utf-8")

    assert len({*hashes, sha256()}) == 5
    assert again == first


def test_the_place_of_the_data_is_no_part_of_the_hash(tmp_path: Path) -> None:
    found = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name)
        found.append(prepare_data(DataConfig(source="flowers.csv"), folder=tmp_path / name))

    assert found[0] is not None and found[1] is not None
    assert found[0].sha256 == found[1].sha256


def test_other_data_than_the_run_began_with_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    preparation = prepare_data(DataConfig(source="flowers.csv"), folder=tmp_path)
    assert preparation is not None
    path.write_text(path.read_text(encoding="utf-8") + "\n1,1,rose", encoding="utf-8")

    with pytest.raises(DataChangedError) as caught:
        preparation.prepare(Recorder())

    assert caught.value.expected_sha256 == preparation.content_sha256


def test_bad_data_show_when_the_task_is_loaded(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("9,2,rose", "9,,rose"), encoding="utf-8")
    preparation = prepare_data(DataConfig(source="flowers.csv"), folder=tmp_path)
    assert preparation is not None

    with pytest.raises(SourceError, match=r"flowers\.csv: row 11, column 'width' is empty"):
        preparation.prepare(Recorder())
    with pytest.raises(NoSuchSourceError, match="no such file"):
        prepare_data(DataConfig(source="nowhere.csv"), folder=tmp_path)


def test_nothing_to_prepare_is_no_preparation(tmp_path: Path) -> None:
    assert prepare_data(None, folder=tmp_path) is None
    assert prepare_data(DataConfig(), folder=tmp_path) is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"label": "kind"}, "data.label is about data.source"),
        ({"source": "x", "size": (3,)}, "height and width"),
        ({"source": "x", "test_share": 0.9}, "together below 1"),
        ({"source": "x", "encoding": "utf-9"}, "'utf-9', which Python does not know"),
    ],
)
def test_settings_that_cannot_be_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**keys)


@pytest.mark.keras
@pytest.mark.slow
def test_a_model_of_keras_is_not_augmented_and_told_what_to_do() -> None:
    keras = pytest.importorskip("keras")

    class Keras(Recorder):
        def build_model(self) -> Any:
            return keras.Sequential([keras.layers.Dense(3)])

    with pytest.raises(PreparationError, match="RandomRotation"):
        prepared(Keras(), policy="digits").build_model()
    assert np.shape(prepared(Keras()).build_model()(np.zeros((1, 2)))) == (1, 3)
