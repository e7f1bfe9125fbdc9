"""`ayni data card` and `ayni data augment` on a folder of images and on tables."""

import json
from pathlib import Path

import pytest
from PIL import Image

from ayni.cli import main


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for name in ("iris", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (12, 10), (number * 20, 90, 200))
            image.save(tmp_path / "flowers" / name / f"{number}.png")
    return tmp_path / "flowers"


def test_the_card_shows_classes_splits_and_shards(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main.run_command(["data", "card", str(flowers), "--licence", "mit", "--shards", "2"])

    shown = capsys.readouterr().out
    assert code == 0
    assert "Rows:        20" in shown and "Licence:     mit" in shown and "images, 3x10x12" in shown
    assert "iris" in shown and "validation" in shown and "most frequent" in shown


def test_json_is_the_card_for_programs(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["data", "card", str(flowers), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["classes"], found["licence"]) == (20, 2, None)
    assert found["class_counts"] == {"iris": 10, "rose": 10}
    assert len(found["sha256"]) == 64


def test_augment_writes_views_and_a_sheet(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = flowers.parent / "views"

    code = main.run_command(
        ["data", "augment", str(flowers), "--policy", "photos", "--views", "2", "--output", str(output)]
    )

    shown = capsys.readouterr().out
    assert code == 0
    assert "24 views of 12 training rows" in shown
    assert "contact-sheet.png" in shown
    # Eight columns of images that are enlarged to 96 pixels and more.
    assert Image.open(output / "contact-sheet.png").size[0] > 8 * 96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["augment", "--policy", "photo"], "Did you mean 'photos'"),
        (["augment", "--policy", "photos", "--strength", "20"], "--strength is from 0 to 10"),
        (["augment", "--policy", "table"], "for table, the source holds images"),
        (["card", "--size", "big"], "HEIGHTxWIDTH"),
        (["card", "--encoding", "klingon"], "which Python does not know"),
        (["card", "--shards", "50"], "cannot be cut"),
    ],
)
def test_mistakes_are_explained(
    flowers: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.run_command(["data", arguments[0], str(flowers), *arguments[1:]])

    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_damaged_image_is_named(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (flowers / "rose" / "3.png").write_bytes(b"torn")

    assert main.run_command(["data", "card", str(flowers)]) == 2
    assert "rose/3.png: the image cannot be read" in capsys.readouterr().err


def test_there_is_nothing_at_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["data", "card", str(tmp_path / "nowhere")]) == 2
    assert "There are no data at" in capsys.readouterr().err
