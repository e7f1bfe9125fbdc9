import copy
import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest

import ayni
from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.files import DiskFullError
from ayni.task import TaskFailedError


@pytest.mark.parametrize(
    "error",
    [
        MissingExtraError(extra="train", package="torch"),
        TaskFailedError(method="loss", cause=ValueError("no such label")),
        DiskFullError(Path("/some/file")),
        AyniError("plain"),
    ],
)
def test_an_error_crosses_from_a_worker_process_whole(error: AyniError) -> None:
    arrived = pickle.loads(pickle.dumps(error))

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.__dict__ == error.__dict__
    assert str(copy.copy(error)) == str(error)


def test_a_users_mistake_exits_with_2_and_everything_else_with_1() -> None:
    assert MissingExtraError(extra="train", package="torch").exit_code == 2
    assert UserError.exit_code == 2
    assert DiskFullError(Path("x")).exit_code == 1


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    error = MissingExtraError(extra="compress", package="onnxruntime")

    assert "'onnxruntime'" in str(error)
    assert "pip install 'ayni[compress]'" in str(error)


def test_errors_of_light_modules_end_in_error_and_have_one_root() -> None:
    names = ["files", "signing", "objects", "database", "task", "market.ledger", "market.settlement"]
    assert {name.split(".")[0] for name in names} <= {
        found.name for found in pkgutil.iter_modules(ayni.__path__)
    }

    classes = [
        value
        for name in names
        for value in vars(importlib.import_module(f"ayni.{name}")).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]

    assert classes
    assert all(issubclass(found, AyniError) and found.__name__.endswith("Error") for found in classes)
