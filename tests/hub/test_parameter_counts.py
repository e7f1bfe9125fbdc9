"""Parameters are counted by headers, kept at each commit, and found by bounds."""

import io
import json
import struct
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, parameter_counts
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.content_safety import guarding
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table
from ayni.objects import ObjectStore

__all__ = ["connection"]

BYTES = {"F32": 4, "I8": 1}


def safetensors(**tensors: tuple[str, list[int]]) -> bytes:
    header, end = {}, 0
    for name, (kind, shape) in tensors.items():
        num_bytes = BYTES[kind]
        for side in shape:
            num_bytes *= side
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + num_bytes]}
        end += num_bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


@pytest.fixture
def model(connection: sa.Connection) -> Repository:
    return catalogue.create(connection, "model", "ada/x", visibility="public", when=WHEN)


def commit(connection: sa.Connection, folder: Path, model: Repository, **files: bytes | None) -> None:
    store = ObjectStore(str(folder))
    for content in files.values():
        store.put(io.BytesIO(content or b""))
    changes = {
        name.replace("__", "."): None if content is None else entry(content)
        for name, content in files.items()
    }
    hooks = CommitHooks(before=(guarding(store, lambda *_: "open"),), after=(parameter_counts.counting(),))
    request = CommitRequest(changes=changes, message="m", author="a", when=WHEN)
    commits.commit(connection, model, request, hooks=hooks)


def test_parameters_are_counted_by_type_and_follow_each_commit(
    connection: sa.Connection, model: Repository, tmp_path: Path
) -> None:
    first = safetensors(w=("F32", [3, 4]), b=("F32", [4]), q=("I8", [2, 2]))
    commit(connection, tmp_path, model, a__safetensors=first, b__safetensors=safetensors(v=("F32", [])))
    assert parameter_counts.read(connection, [model.id]) == {model.id: {"F32": 17, "I8": 4}}

    commit(connection, tmp_path, model, model__safetensors=safetensors(w=("F32", [5])))
    assert parameter_counts.read(connection, [model.id]) == {model.id: {"F32": 5}}

    gone = {"model__safetensors": None, "a__safetensors": None, "b__safetensors": None}
    commit(connection, tmp_path, model, README__md=b"x", **gone)
    assert parameter_counts.read(connection, [model.id]) == {}


@pytest.mark.parametrize("shape", [[-1], [1.5], ["4"], [True], 4, [10**30]])
def test_shapes_that_are_none_are_not_counted(
    connection: sa.Connection, model: Repository, tmp_path: Path, shape: object
) -> None:
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(4)

    commit(connection, tmp_path, model, model__safetensors=content)

    assert parameter_counts.read(connection, [model.id]) == {}


@pytest.mark.parametrize(
    ("bounds", "is_found"),
    [
        ("min:1", True),
        ("min:1K,max:2k", True),
        ("max:1.5K", True),
        ("min:2K", False),
        ("max:999", False),
        ("min:999999999999T", False),
    ],
)
def test_models_are_found_by_bounds(
    connection: sa.Connection, model: Repository, bounds: str, is_found: bool
) -> None:
    catalogue.create(connection, "model", "ada/without", visibility="public", when=WHEN)
    parameter_counts.put(connection, model.id, {"F32": 1_500})

    condition = parameter_counts.within(repositories_table.c.id, bounds)
    page = catalogue.page(connection, "model", visible=condition)

    assert [each.name for each in page.repositories] == (["ada/x"] if is_found else [])


@pytest.mark.parametrize("bounds", ["1000", "min:", "min:-1", "min:1e9", "min:1,", "least:1", "min:9" * 40])
def test_bounds_in_another_form_are_refused(bounds: str) -> None:
    with pytest.raises(ValueError, match="no bound"):
        parameter_counts.within(repositories_table.c.id, bounds)
