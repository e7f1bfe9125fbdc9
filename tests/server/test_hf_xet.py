"""The unmodified client uploads by chunks, and what it or another has sent it does not send again."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.hub_app import running

from ayni.hub import catalogue
from ayni.hub.xet.tables import holders_table
from ayni.server.served_hub import ServedHub

pytest.importorskip("hf_xet")

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from huggingface_hub import HfApi

api = HfApi()
command, *rest = sys.argv[1:]
if command == "up":
    repository, *paths = rest
    api.create_repo(repository, exist_ok=True)
    for path in paths:
        api.upload_file(path_or_fileobj=path, path_in_repo=path.rpartition("/")[2], repo_id=repository)
else:
    repository, name, target = rest
    api.hf_hub_download(repository, name, local_dir=target)
"""


@pytest.fixture(params=[False, True], ids=["plain-reads", "xet-reads"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServedHub]:
    with running(tmp_path / "hub", offers_xet_reads=request.param) as served:
        yield served


def run(
    hub: ServedHub, home: Path, *words: object, token: str = "hf_ada"
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {
        **clean,
        "HF_ENDPOINT": hub.base_url,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def stored_bytes(hub: ServedHub) -> int:
    assert hub.xet is not None
    return sum(hub.xet.xorbs.size(name) or 0 for name in hub.xet.xorbs.list())


def test_files_come_and_go_bit_for_bit_and_are_stored_once(hub: ServedHub, tmp_path: Path) -> None:
    rng = random.Random(5)
    first = rng.randbytes(6_000_000) + bytes(3_000_000)
    second = first[:4_000_000] + b"a change" + first[4_000_000:] + first[:1_000_000]
    for name, content in (("first.bin", first), ("second.bin", second)):
        (tmp_path / name).write_bytes(content)

    done = run(hub, tmp_path / "home-a", "up", "ada/x", tmp_path / "first.bin")
    assert done.returncode == 0, done.stderr
    after_first = stored_bytes(hub)
    done = run(hub, tmp_path / "home-b", "up", "ben/x", tmp_path / "second.bin", token="hf_ben")
    assert done.returncode == 0, done.stderr

    assert 6_000_000 < after_first < 6_100_000
    assert stored_bytes(hub) - after_first < 500_000, "a fresh client finds what another has sent"
    for repository, name, content in (("ada/x", "first.bin", first), ("ben/x", "second.bin", second)):
        done = run(hub, tmp_path / "home-c", "down", repository, name, tmp_path / "got")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "got" / name).read_bytes() == content


def test_a_private_repository_is_no_source_of_chunks_for_others(hub: ServedHub, tmp_path: Path) -> None:
    content = random.Random(6).randbytes(2_000_000)
    (tmp_path / "a.bin").write_bytes(content)
    run(hub, tmp_path / "home-a", "up", "ada/x", tmp_path / "a.bin")
    with hub.database.transaction() as connection:
        found = catalogue.find(connection, "model", "ada/x")
        catalogue.change(connection, found, visibility="private")  # type: ignore[arg-type]

    done = run(hub, tmp_path / "home-b", "up", "ben/x", tmp_path / "a.bin", token="hf_ben")

    assert done.returncode == 0, done.stderr
    assert stored_bytes(hub) < 2_100_000, "the bytes came again, and are stored once"


def test_a_client_whose_cache_knows_more_than_the_hub_is_told_what_to_do(
    hub: ServedHub, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(random.Random(7).randbytes(2_000_000))
    run(hub, tmp_path / "home", "up", "ada/x", tmp_path / "a.bin")
    with hub.database.transaction() as connection:
        connection.execute(holders_table.delete())

    done = run(hub, tmp_path / "home", "up", "ada/y", tmp_path / "a.bin")

    assert done.returncode != 0
    assert "remove its cache" in done.stderr
