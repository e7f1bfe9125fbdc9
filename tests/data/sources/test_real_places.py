"""Sources that are not on this machine's disk: a real S3, a real hub, and places that cannot be had."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.server.hub_app import inline, ndjson
from tests.server.serving import Served, serving

from ayni.cli import main
from ayni.data.config import DataConfig
from ayni.data.sources.file_trees import (
    MissingFileSystemError,
    NoSuchSourceError,
    content_hash,
    fetched,
    open_files,
)
from ayni.data.sources.reading import read_collection
from ayni.errors import MissingExtraError

CARD = """---
license: mit
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train.csv}
  - {split: test, path: data/test.csv}
---
# Points
"""


def png(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (6, 5), level).save(out, "png")
    return out.getvalue()


def table(count: int, *, start: int) -> bytes:
    rows = [f"{row / 10},{row % 3},{'above' if row % 2 else 'below'}" for row in range(start, start + count)]
    return "\n".join(["x,y,label", *rows]).encode()


PICTURES = {f"{name}/{number}.png": png(number * 10) for name in ("iris", "rose") for number in range(8)}
TABLES = {
    "README.md": CARD.encode(),
    "data/train.csv": table(30, start=0),
    "data/test.csv": table(10, start=30),
}


def write(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in a real S3, which this process can reach."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    place: str = s3.new_place()
    return place


def put(files: dict[str, bytes], place: str) -> None:
    import fsspec

    system, root = fsspec.url_to_fs(place)
    for name, content in files.items():
        system.pipe_file(f"{root}/{name}", content)


@pytest.mark.cluster
def test_a_folder_of_images_in_a_bucket_is_the_one_on_disk(bucket: str, tmp_path: Path) -> None:
    put({**PICTURES, ".hidden/x.png": png(1)}, f"{bucket}/flowers")

    there, here = open_files(f"{bucket}/flowers"), open_files(str(write(PICTURES, tmp_path / "flowers")))

    assert there.paths() == here.paths() and content_hash(there) == content_hash(here)
    far, near = (read_collection(fetched(files), DataConfig()) for files in (there, here))
    assert far.classes == near.classes == ("iris", "rose")
    assert np.array_equal(np.asarray(far.inputs), np.asarray(near.inputs))


@pytest.mark.cluster
def test_one_table_in_a_bucket_has_a_card_by_command(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    put({"points.csv": table(30, start=0)}, bucket)

    assert main.run_command(["data", "card", f"{bucket}/points.csv"]) == 0

    shown = capsys.readouterr().out
    assert "Rows:        30" in shown and "above" in shown


@pytest.mark.cluster
def test_what_is_wrong_in_a_bucket_is_named(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    put({**PICTURES, "rose/3.png": b"torn"}, f"{bucket}/flowers")

    assert main.run_command(["data", "card", f"{bucket}/flowers"]) == 2
    assert "flowers, rose/3.png: the image cannot be read" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(NoSuchSourceError, match="FileNotFoundError"):
        open_files(f"{bucket}/none").paths()
    with pytest.raises(NoSuchSourceError, match=r"s3://no-such-bucket-ayni/x"):
        open_files("s3://no-such-bucket-ayni/x").paths()


@pytest.mark.cluster
def test_wrong_keys_are_told_from_an_empty_place(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put({"points.csv": table(30, start=0)}, bucket)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(NoSuchSourceError, match=r"PermissionError|Forbidden|SignatureDoesNotMatch"):
            open_files(bucket).paths()
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """`ayni serve`, and an admin's token."""
    with serving(tmp_path_factory.mktemp("hub")) as served:
        token = served.token
        assert token is not None
        yield served, token


def upload(hub: tuple[Served, str], name: str, folder: Path, *, private: bool = False) -> str:
    """Publish a folder as a data set, as Hugging Face's client does; returns owner/name."""
    served, token = hub
    headers = {"Authorization": f"Bearer {token}"}
    owner = served.client.get("/api/whoami-v2", headers=headers).json()["name"]
    asked = {"type": "dataset", "name": name, "organization": owner, "private": private}
    assert served.client.post("/api/repos/create", json=asked, headers=headers).status_code in (200, 409)
    lines = [
        inline(path.relative_to(folder).as_posix(), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    answer = served.client.post(
        f"/api/datasets/{owner}/{name}/commit/main",
        content=ndjson("Upload", *lines),
        headers={**headers, "Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    return f"{owner}/{name}"


def test_a_data_set_of_our_hub_is_read_by_its_page_and_by_its_name(
    hub: tuple[Served, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = upload(hub, "points", write(TABLES, tmp_path / "points"))
    monkeypatch.setenv("AYNI_HUB_URL", hub[0].url)

    by_page = open_files(f"{hub[0].url}/datasets/{repository}")
    by_name = open_files(f"hub:{repository}@main")

    assert by_page.paths() == by_name.paths() == sorted(TABLES)
    found = read_collection(fetched(by_name), DataConfig())
    assert found.classes == ("above", "below") and found.columns == ("x", "y")
    assert {split: len(rows) for split, rows in found.splits.items()} == {"train": 30, "test": 10}
    assert content_hash(by_page) == content_hash(open_files(str(tmp_path / "points")))


def test_a_revision_stays_when_the_repository_moves_on(
    hub: tuple[Served, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = upload(hub, "moving", write(TABLES, tmp_path / "moving"))
    monkeypatch.setenv("AYNI_HUB_URL", hub[0].url)
    before = hub[0].client.get(f"/api/datasets/{repository}").json()["sha"]
    upload(hub, "moving", write({"data/test.csv": table(4, start=0)}, tmp_path / "moving"))

    old, new = (
        read_collection(fetched(open_files(f"hub:{repository}@{revision}")), DataConfig())
        for revision in (before, "main")
    )

    assert (len(old), len(new)) == (40, 34)
    with pytest.raises(NoSuchSourceError, match="the hub answers 404"):
        open_files(f"hub:{repository}@no-such-branch")


def test_a_private_data_set_needs_the_token_of_that_hub(
    hub: tuple[Served, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = upload(hub, "secret", write(PICTURES, tmp_path / "secret"), private=True)
    monkeypatch.setenv("AYNI_HUB_URL", hub[0].url)
    with pytest.raises(NoSuchSourceError, match=r"the hub answers 40[14]"):
        open_files(f"hub:{repository}")

    monkeypatch.setenv("AYNI_HUB_TOKEN", hub[1])
    found = read_collection(fetched(open_files(f"hub:{repository}")), DataConfig())

    assert found.class_counts() == {"iris": 8, "rose": 8}
    # The token goes to the hub of the settings alone: by another address it is as if there were none.
    with pytest.raises(NoSuchSourceError, match=r"the hub answers 40[14]"):
        open_files(f"{hub[0].url.replace('127.0.0.1', 'localhost')}/datasets/{repository}")


def test_images_of_a_repository_come_with_their_classes_by_command(
    hub: tuple[Served, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = upload(hub, "flowers", write(PICTURES, tmp_path / "flowers"))

    assert main.run_command(["data", "card", f"{hub[0].url}/datasets/{repository}"]) == 0
    shown = capsys.readouterr().out
    assert "Rows:        16" in shown and "rose" in shown


def test_a_hub_that_is_not_there_is_said_to_be_unreachable() -> None:
    with pytest.raises(NoSuchSourceError, match="the hub cannot be reached"):
        open_files("http://127.0.0.1:9/datasets/a/b")


@pytest.mark.parametrize("url", ["hdfs://127.0.0.1:9/set", "hdfs://127.0.0.1:900000/set"])
def test_a_name_node_that_does_not_answer_is_said_to_be_unreachable_at_once(url: str) -> None:
    with pytest.raises(NoSuchSourceError, match="the name node cannot be reached"):
        open_files(url)


@pytest.mark.parametrize(
    ("url", "module", "message"),
    [
        ("s3://bucket/set", "s3fs", r"'s3fs'. Run: pip install 'ayni\[s3\]'"),
        ("hdfs://name/set", "hdfs_native", r"'hdfs-native'. Run: pip install 'ayni\[hdfs\]'"),
        ("gs://bucket/set", "gcsfs", r"'gcsfs'. Run: pip install gcsfs"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(
    url: str, module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ayni.data.sources.file_trees.importlib.util.find_spec", lambda name: None)
    _hide(module, monkeypatch)

    with pytest.raises((MissingExtraError, MissingFileSystemError), match=message):
        open_files(url)


def _hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let imports of a package fail, as where it is not installed."""
    known = sys.modules["fsspec.registry"]
    for scheme in ("s3", "hdfs", "gs"):
        monkeypatch.delitem(known._registry, scheme, raising=False)  # type: ignore[attr-defined]
    for loaded in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
