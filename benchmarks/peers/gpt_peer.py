"""What every peer that trains the small GPT does, whatever system joins them.

Runs in the other systems' environments too, so that it needs torch, numpy and the task's own file only.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.small_gpt import RECIPE

from benchmarks import small_gpt


def parse_arguments() -> argparse.Namespace:
    """Rank and meeting folder come from pair.py, the rest from the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--meeting", type=Path, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=RECIPE.num_steps)
    parser.add_argument("--local-steps", type=int, default=50)
    return parser.parse_args()


def build_model(seed: int) -> torch.nn.Module:
    """The untrained model; all peers of one seed begin with the same."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return small_gpt.SmallGPT().build_model()


def make_optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW as Ayni's learners have it."""
    return torch.optim.AdamW(
        model.parameters(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay, fused=True
    )


def wait_for_file(path: Path, seconds: float = 60.0) -> str:
    """The content of a file that the other peer writes."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} did not appear within {seconds:g} s")
        time.sleep(0.05)
    return path.read_text(encoding="utf-8")


def publish(path: Path, content: str) -> None:
    """Write a file that the other peer waits for; it appears whole."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.rename(path)


def train(
    arguments: argparse.Namespace,
    model: torch.nn.Module,
    step: Callable[[torch.nn.Module, Any, float], None],
) -> None:
    """The whole loop: `step(model, batch, learning_rate)` does one step, exchange included."""
    recipe = small_gpt.Recipe(num_steps=arguments.steps)
    batches = small_gpt.peer_batches(rank=arguments.rank, seed=arguments.seed, recipe=recipe)
    model.train()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(arguments.steps):
        step(model, next(batches), recipe.learning_rate_at(number))
    print("done", flush=True)


def report(model: torch.nn.Module, **more: Any) -> None:
    """The result of this peer as one line of JSON."""
    parameters = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    found = {
        "validation_loss": small_gpt.validation_loss(model),
        "num_parameters": parameters.numel(),
        "checksum": float(parameters.double().sum()),
        **more,
    }
    print(json.dumps(found), flush=True)


def backward_and_clip(model: torch.nn.Module, batch: Any, optimizer: Any, learning_rate: float) -> None:
    """Gradients of one batch, clipped; the optimizer is told the learning rate and has not stepped yet."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad()
    small_gpt.SmallGPT().loss(model, batch).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.gradient_clip)
