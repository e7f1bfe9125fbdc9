"""The full model of a task, trained where it has to be, and its ONNX file: where all tools begin."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.peers.compress_peer import FULL, FULL_ONNX, TASKS, build_task
from benchmarks.small_cnn import RECIPE, trained
from safetensors.torch import save_model

from ayni.compress.calibration import model_inputs
from ayni.compress.deploy.export import export_onnx


def main() -> None:
    """Train, save, export; the last line of output is the size of the file of weights in bytes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = build_task(arguments.task)
    if arguments.task == "digits":
        plan = replace(RECIPE, epochs=arguments.epochs)
        model = trained(task, seed=arguments.seed, plan=plan)
    else:
        model = task.build_model()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    save_model(model, str(arguments.folder / FULL))
    shown = model_inputs(task, model.eval(), split="validation", num_examples=9, batch_size=3)
    export_onnx(model, shown, arguments.folder / FULL_ONNX)
    print(json.dumps({"bytes": (arguments.folder / FULL).stat().st_size}))


if __name__ == "__main__":
    main()
