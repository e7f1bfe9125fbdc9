"""Folders of images: sizes, modes, splits, and damaged files by name."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import GivenFiles, LocalFiles
from ayni.data.sources.reading import read_collection, rows_of_splits


def picture(*, size: tuple[int, int] = (5, 4), mode: str = "L", level: int = 100, kind: str = "png") -> bytes:
    colour = {"L": level, "RGB": (level, 0, 0), "RGBA": (0, 0, 0, 0), "P": 3, "1": 1, "LA": (0, 0)}[mode]
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind)
    return out.getvalue()


def read(files: dict[str, bytes], **keys: object) -> Collection:
    config = DataConfig(source="x", **keys)  # type: ignore[arg-type]
    return read_collection(GivenFiles(name="set", files=files), config)


def test_sub_folders_are_classes_and_grey_images_have_one_channel() -> None:
    found = read({"b/1.png": picture(level=51), "a/1.png": picture(level=255)})

    assert found.kind == "images"
    assert found.classes == ("a", "b")
    inputs = np.asarray(found.inputs)
    assert inputs.shape == (2, 1, 4, 5)
    assert inputs.dtype == np.float32
    assert inputs[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.2])


def test_one_colour_image_makes_all_of_them_colour_and_what_is_clear_is_white() -> None:
    found = read(
        {"a/1.png": picture(), "b/1.png": picture(mode="RGBA"), "b/2.jpg": picture(mode="RGB", kind="jpeg")}
    )

    inputs = np.asarray(found.inputs)
    assert inputs.shape == (3, 3, 4, 5)
    assert (inputs[1] == 1).all()


@pytest.mark.parametrize("mode", ["1", "P", "LA"])
def test_other_modes_are_read(mode: str) -> None:
    assert len(read({"a/1.png": picture(mode=mode), "b/1.png": picture()})) == 2


def test_folders_that_are_called_by_split_are_splits() -> None:
    files = {
        f"{split}/{name}/{number}.png": picture()
        for split in ("train", "val", "test")
        for name in "ab"
        for number in "12"
    }

    rows = rows_of_splits(read(files), DataConfig(source="x"))

    assert {name: len(found) for name, found in rows.items()} == {"train": 4, "validation": 4, "test": 4}
    assert not set(rows["train"]) & set(rows["test"])


def test_a_local_folder_is_read_without_its_hidden_files(tmp_path: Path) -> None:
    for path in ("a/1.png", "b/1.png", ".cache/c/1.png", "a/.DS_Store"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(picture())

    found = read_collection(LocalFiles(root=tmp_path), DataConfig(source=str(tmp_path)))

    assert found.classes == ("a", "b")


def test_mixed_sizes_are_refused_by_name_and_brought_to_one_when_asked() -> None:
    files = {"a/1.png": picture(), "b/1.png": picture(size=(9, 7))}

    with pytest.raises(SourceError, match=r"set, b/1\.png: the image has 9x7 pixels, set, a/1\.png has 5x4"):
        read(files)
    assert np.asarray(read(files, size=(6, 8)).inputs).shape == (2, 1, 6, 8)


@pytest.mark.parametrize(
    "damaged", [b"", b"no image", picture()[:40], picture(kind="jpeg", size=(90, 90))[:300]]
)
def test_a_damaged_image_is_named(damaged: bytes) -> None:
    with pytest.raises(SourceError, match=r"set, b/2\.png: the image cannot be read"):
        read({"a/1.png": picture(), "b/2.png": damaged})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/1.png": picture()}, "all 1 examples are of one class, 'a'"),
        ({"1.png": picture(), "a/1.png": picture()}, r"1\.png: the image is in no sub-folder"),
    ],
)
def test_folders_without_classes_are_refused(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(files)


def test_a_folder_without_data_says_what_is_known() -> None:
    with pytest.raises(SourceError, match=r"none of its 1 files is of a kind that is known \(\.npz"):
        read({"notes.doc": b""})
