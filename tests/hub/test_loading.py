import sys
from typing import Any

import pytest

from ayni.hub.config import UnusableConfigError
from ayni.hub.loading import WeightsDoNotFitError, load_model
from ayni.hub.snapshots import DamagedFileError
from ayni.task import TaskFailedError

torch = pytest.importorskip("torch")


def test_a_published_model_is_the_model_again(published_model: Any) -> None:
    snapshot = published_model.publish()

    model = load_model(snapshot)

    assert not model.training
    assert model.linear.weight.equal(torch.eye(3, 4))
    assert model.tied is model.linear.bias
    assert model.tied[2] == 0.25


def test_loading_leaves_the_snapshot_as_it_was(published_model: Any) -> None:
    snapshot = published_model.publish()
    before = (sys.dont_write_bytecode, sys.pycache_prefix)

    load_model(snapshot)

    assert sorted(path.name for path in snapshot.folder.iterdir()) == sorted(snapshot.files)
    assert (sys.dont_write_bytecode, sys.pycache_prefix) == before


@pytest.mark.parametrize("name", ["task.py", "model.safetensors", "config.json", "int8.onnx"])
def test_a_changed_byte_in_any_file_stops_the_load(published_model: Any, name: str) -> None:
    snapshot = published_model.publish()
    content = bytearray((snapshot.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (snapshot.folder / name).write_bytes(content)

    with pytest.raises(DamagedFileError, match=name):
        load_model(snapshot)


def test_a_task_that_is_not_the_trained_one_is_refused(published_model: Any) -> None:
    snapshot = published_model.publish(task_py=b"raise SystemExit('never run')")

    with pytest.raises(UnusableConfigError, match="not what the model was trained with"):
        load_model(snapshot)


def test_a_repository_without_task_or_weights_is_explained(published_model: Any) -> None:
    with pytest.raises(UnusableConfigError, match="not part of the revision"):
        load_model(published_model.publish(task_py=None))
    with pytest.raises(WeightsDoNotFitError):
        load_model(published_model.publish(model_safetensors=None))


def test_weights_that_do_not_fit_are_explained(published_model: Any) -> None:
    from safetensors.torch import save

    other_shape = save(
        {"linear.weight": torch.zeros(2, 4), "linear.bias": torch.zeros(3), "count": torch.tensor(1)}
    )
    missing = save({"linear.weight": torch.zeros(3, 4)})
    for content in (other_shape, missing, b"no tensors"):
        with pytest.raises(WeightsDoNotFitError, match="do not fit"):
            load_model(published_model.publish(model_safetensors=content))


def test_an_error_of_the_task_is_the_task_s(published_model: Any) -> None:
    import dataclasses
    import json

    from ayni.signing import sha256_hex

    broken = published_model.files["task.py"].replace(b"return Small()", b"return 1 / 0")
    config = dataclasses.replace(published_model.config, task_sha256=sha256_hex(broken))
    snapshot = published_model.publish(task_py=broken, config_json=json.dumps(config.to_json()).encode())

    with pytest.raises(TaskFailedError, match="ZeroDivisionError"):
        load_model(snapshot)
