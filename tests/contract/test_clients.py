"""Unmodified clients of the Hugging Face Hub, old and new, walk every call that the hub promises."""

from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from benchmarks.hub_calls import CALLS, calls_made
from benchmarks.hub_contract import CLIENTS, FEATURES, features, python_of_client, walk_all
from benchmarks.peer_runs import PeerFailedError

# What a client never asks for.
NOT_KNOWN = {
    # It sends files by LFS where the hub lets it, and by chunks as the newest does.
    # It sends all files by LFS, and is logged in by a token that is pasted.
    "0.36.2": {call.name for call in CALLS if "/cas/" in call.name or "/xet-" in call.name}
    | {"POST /oauth/device", "POST /oauth/token"},
    "1.33.0": set(),
    "newest": set(),
}


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_every_call_is_made_and_every_check_of_it_passes(client: str, tmp_path: Path) -> None:
    try:
        python_of_client(client)
    except PeerFailedError as error:
        pytest.skip(str(error))

    found = walk_all(client, tmp_path)

    assert not found.failed, "\n".join(f"{name}\n{problem}" for name, problem in found.failed.items())
    assert found.broken() == []
    assert set(found.missing()) <= NOT_KNOWN[client]


def test_calls_are_told_apart_by_what_was_sent() -> None:
    requests = [
        ("GET", "/api/models/a/b/tree/main", 200),
        ("GET", "/api/models/a/b/tree/refs%2Fpr%2F1/sub%20dir%2Fx?recursive=True", 404),
        ("POST", "/api/datasets/a/b/commit/main?create_pr=1", 200),
        ("POST", "/a/b.git/info/lfs/objects/batch", 500),
        ("GET", "/api/datasets", 200),
        ("GET", "/api/agent-harnesses", 404),
    ]

    assert calls_made(requests) == {
        "GET /api/{kind}/{repo}/tree/{rev}": {200},
        "GET /api/{kind}/{repo}/tree/{rev}/{folder}": {404},
        "POST /api/{kind}/{repo}/commit/{rev}": {200},
        "POST /api/{kind}/{repo}/commit/{rev}?create_pr=1": {200},
        "POST /{prefix}{repo}.git/info/lfs/objects/batch": {500},
        "GET /api/{kind}": {200},
    }


def test_every_row_needs_what_can_be_told_of_a_hub() -> None:
    assert {call.needs for call in CALLS} - {"repositories"} == set(FEATURES)
    assert features() <= set(FEATURES)
    assert len({call.name for call in CALLS}) == len(CALLS)
