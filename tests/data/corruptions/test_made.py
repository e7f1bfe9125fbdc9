"""Corrupted copies of a data set are data sets themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ayni.data.config import DataConfig
from ayni.data.corruptions.kinds import CorruptionInputError
from ayni.data.corruptions.made import CorruptOptions, folder_names, write_corrupted
from ayni.data.sources.collection import SourceError
from ayni.data.sources.file_trees import open_files
from ayni.data.sources.reading import read_collection


@pytest.fixture
def flowers(tmp_path: Path) -> DataConfig:
    for name in ("iris", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (12, 10), (number * 20, 90, 200))
            image.save(tmp_path / "flowers" / name / f"{number}.png")
    return DataConfig(source=str(tmp_path / "flowers"))


def test_copies_are_a_data_set_for_each_kind_and_severity(flowers: DataConfig, tmp_path: Path) -> None:
    told: list[float] = []
    options = CorruptOptions(kinds=("brightness", "fog"), severities=(1, 5), copies=True)

    made = write_corrupted(flowers, options, folder=tmp_path / "out", advanced=told.append)

    assert (made.num_images, made.num_copies) == (4, 16) and told == [0.25, 0.5, 0.75, 1.0]
    weak, strong = (
        read_collection(open_files(str(tmp_path / "out" / "brightness" / severity)), DataConfig())
        for severity in ("1", "5")
    )
    assert weak.classes == ("iris", "rose") and weak.class_counts() == {"iris": 2, "rose": 2}
    assert isinstance(weak.inputs, np.ndarray) and isinstance(strong.inputs, np.ndarray)
    assert weak.inputs.shape == (4, 3, 10, 12) and strong.inputs.mean() > weak.inputs.mean() + 0.05
    record = json.loads((tmp_path / "out" / "corruptions.json").read_text())
    assert record["rows"] == made.record["rows"] and record["severities"] == [1, 5]


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(
    flowers: DataConfig, tmp_path: Path
) -> None:
    def written(name: str, seed: int) -> dict[str, bytes]:
        options = CorruptOptions(kinds=("gaussian_noise",), severities=(3,), copies=True, seed=seed)
        write_corrupted(flowers, options, folder=tmp_path / name)
        folder = tmp_path / name / "gaussian_noise"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}

    first = written("one", 0)
    assert first == written("two", 0) != written("three", 1)


def test_without_copies_there_is_the_sheet_alone(flowers: DataConfig, tmp_path: Path) -> None:
    made = write_corrupted(flowers, CorruptOptions(), folder=tmp_path / "out")

    assert made.num_copies == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "corruption-sheet.png",
        "corruptions.json",
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["../up", "rose"], ["class-0000", "class-0001"]),
        ([".", "rose"], ["class-0000", "class-0001"]),
        (["iris", "a/b"], ["class-0000", "class-0001"]),
        (["iris", "Mohn-Blume 2"], ["iris", "Mohn-Blume 2"]),
    ],
)
def test_names_of_classes_never_lead_out_of_the_folder(names: list[str], expected: list[str]) -> None:
    assert folder_names(names) == expected


def test_what_is_no_image_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,label\n1,a\n2,b\n")
    (tmp_path / "empty").mkdir()

    with pytest.raises(CorruptionInputError, match="holds table"):
        write_corrupted(DataConfig(source=str(tmp_path / "t.csv")), CorruptOptions(), folder=tmp_path / "o")
    with pytest.raises(SourceError, match="empty"):
        write_corrupted(DataConfig(source=str(tmp_path / "empty")), CorruptOptions(), folder=tmp_path / "o")


def test_an_image_of_four_channels_is_refused_with_its_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "four.npz", inputs=rng.random((8, 4, 8, 8)), labels=np.arange(8) % 2)

    with pytest.raises(CorruptionInputError, match="1 or 3 channels"):
        write_corrupted(
            DataConfig(source=str(tmp_path / "four.npz")), CorruptOptions(), folder=tmp_path / "o"
        )
