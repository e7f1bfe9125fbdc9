"""A derived set as files: views of training rows alone, each with the record that it came from."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ayni.data.augmentation.images import AugmentationInputError
from ayni.data.augmentation.made import make_views
from ayni.data.augmentation.policy import AugmentConfig
from ayni.data.config import DataConfig
from ayni.data.contact_sheet import contact_sheet
from ayni.files import read_json


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty grey images whose level says which they are."""
    levels = np.repeat(np.arange(20, dtype=np.uint8) * 10, 6 * 8).reshape(20, 6, 8)
    path = tmp_path / "set.npz"
    np.savez(path, x=levels, y=np.arange(20) % 2)
    return path


def test_views_are_of_training_rows_and_name_their_record(images: Path, tmp_path: Path) -> None:
    config = DataConfig(source=str(images), test_share=0.3, validation_share=0.2)
    augment = AugmentConfig(policy="crop_flip")

    made = make_views(config, augment, views=3, seed=1, folder=tmp_path / "out")

    with np.load(tmp_path / "out" / "views.npz") as views:
        inputs, labels, rows = views["inputs"], views["labels"], views["rows"]
    assert (made.num_records, made.num_views, made.rho) == (10, 30, pytest.approx(3.0))
    assert len(set(rows.tolist())) == 10
    # Moving and mirroring an image of one level changes nothing in it.
    assert np.allclose(inputs[:, 0, 0, 0] * 255, rows * 10)
    assert (labels == rows % 2).all()
    record = read_json(tmp_path / "out" / "augmentation.json")
    assert (record["seed"], record["policy"]["name"], record["rho"]) == (1, "crop_flip", pytest.approx(3.0))
    assert {path.name for path in made.files} == {"views.npz", "contact-sheet.png", "augmentation.json"}


def test_the_same_seed_gives_the_same_files(images: Path, tmp_path: Path) -> None:
    config, augment = DataConfig(source=str(images)), AugmentConfig(policy="cutmix")

    first, again, other = (
        [
            path.read_bytes()
            for path in make_views(config, augment, views=2, seed=seed, folder=tmp_path / name).files
        ]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert first == again
    assert first[0] != other[0]
    with np.load(tmp_path / "a" / "views.npz") as views:
        assert np.allclose(views["labels"].sum(1), 1)


def test_texts_and_rows_have_views_too(tmp_path: Path) -> None:
    (tmp_path / "reviews.txt").write_text("good\ta very good film\nbad\tno good film\n" * 6, encoding="utf-8")
    (tmp_path / "rows.csv").write_text("x,label\n" + "1,a\n2,b\n" * 9, encoding="utf-8")

    for source, policy in (("reviews.txt", "words"), ("rows.csv", "smote")):
        make_views(
            DataConfig(source=str(tmp_path / source)),
            AugmentConfig(policy=policy),
            views=2,
            seed=0,
            folder=tmp_path / policy,
        )

    lines = (tmp_path / "words" / "views.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 * 8
    words = {"good": {"a", "very", "good", "film"}, "bad": {"no", "good", "film"}}
    assert all(set(text.split()) <= words[label] for label, text in (line.split("\t") for line in lines))
    with np.load(tmp_path / "smote" / "views.npz") as views:
        assert (views["inputs"][:, 0] == views["labels"] + 1).all()


def test_a_policy_for_other_data_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(AugmentationInputError, match="for table, the source holds images"):
        make_views(
            DataConfig(source=str(images)), AugmentConfig(policy="smote"), views=1, seed=0, folder=tmp_path
        )


def test_a_sheet_shows_originals_first_enlarged_without_smoothing() -> None:
    originals = np.zeros((2, 1, 8, 8), dtype=np.float32)
    originals[:, :, 0, 0] = 1.0
    views = np.full((2, 3, 1, 8, 8), 0.5, dtype=np.float32)

    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(originals, views))))

    assert sheet.shape[2] == 3
    assert set(np.unique(sheet).tolist()) == {0, 128, 255}
    assert (sheet[8:20, 8:20] == 255).all()  # one pixel of the original, twelve times as large
    assert (sheet[9, 21:100] == 0).all()
    assert (sheet == 128).any(axis=2).sum() == 2 * 3 * 96 * 96
