"""The programs of the card run as they are, beside the files of a published model and without Ayni."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.usage_code import model_code, onnx_code

FORBIDDEN = ("ayni", "onnx", "sklearn", "transformers", "dask")


def run(program: str, folder: Path, *, without: Sequence[str], afterwards: str = "") -> str:
    """What a program prints in a process where some packages cannot be imported."""
    guarded = (
        "import sys\n"
        f"for name in {without!r}: sys.modules[name] = None\n"
        f"{program}{afterwards}"
        f"assert not [name for name in {without!r} if sys.modules[name]]\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", guarded], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_model_is_used_without_ayni(published_model: Any) -> None:
    program = model_code(published_model.config, task_is_built=False)
    folder = published_model.publish().folder

    printed = run(
        program,
        folder,
        without=(*FORBIDDEN, "onnxruntime"),
        afterwards="assert torch.equal(model.linear.bias, torch.tensor([0, 0, 0.25]))\n",
    )

    assert printed == "torch.Size([1, 3])"


def test_an_onnx_variant_is_used_without_ayni_torch_and_the_code_of_the_task(published_model: Any) -> None:
    program = onnx_code(published_model.config, "int8.onnx")
    folder = published_model.publish().folder

    assert run(program, folder, without=(*FORBIDDEN, "torch", "task")) == "(1, 3)"
