"""A model of torch with its AdamW. Fulfils ayni.train.replica.Replica.

What a learner and the coordinator both have: weights as arrays, a step, metrics, and the file at the end.
Gangs also take the gradients and the float buffers of it, as tensors.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from ayni.files import explain_os_errors, flush_folder, make_folder
from ayni.task import Task, TaskFailedError
from ayni.train.codec import on_cpu, view_or_array
from ayni.train.config import TrainConfig
from ayni.train.local import (
    apply_gradients,
    batches,
    collate,
    compute_gradients,
    evaluate,
    make_optimizer,
    one_thread,
    resolve_device,
    to_device,
)
from ayni.train.named_arrays import (
    NamedArrays,
    buffer_names,
    digest_of_model,
    get_arrays,
    set_arrays,
    travelling_tensors,
)
from ayni.train.optimizer_spill import as_os_errors
from ayni.train.privacy_accounting import PrivacyPlan
from ayni.train.randomness import seed_everything, seeded

if TYPE_CHECKING:
    from ayni.train.private_gradients import PrivateGradients

# Examples of one batch when only the loss is asked for.
_LOSS_BATCH = 64


class TorchReplica:
    """A torch model on the device of the configuration."""

    def __init__(
        self, task: Task, model: nn.Module, config: TrainConfig, *, seed: int, init_path: Path | None = None
    ) -> None:
        self._task, self._config, self._seed = task, config, seed
        self._device = resolve_device(config.device)
        self._num_parameters = sum(parameter.numel() for parameter in model.parameters())
        self.notices = _load_first_weights(model, init_path)
        self.model = _with_adapter(model, config, seed=seed).to(self._device)
        self._counters = {
            name: buffer.clone()
            for name, buffer in self.model.named_buffers()
            if not buffer.is_floating_point()
        }
        self._made_optimizer: torch.optim.Optimizer | None = None
        self._private: PrivateGradients | None = None

    def protect(self, plan: PrivacyPlan) -> None:
        """Clip and noise every gradient from now on (private_gradients.py)."""
        from ayni.train.private_gradients import PrivateGradients

        self._private = PrivateGradients(self.model, plan, device=self._device)

    @property
    def buffer_names(self) -> frozenset[str]:
        """Float buffers that travel."""
        return buffer_names(self.model)

    @property
    def embedding_names(self) -> frozenset[str]:
        """Weights of Embedding and EmbeddingBag, tied ones too."""
        tables = {
            id(module.weight)
            for module in self.model.modules()
            if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        }
        travelling = travelling_tensors(self.model)
        return frozenset(name for name, tensor in travelling.items() if id(tensor) in tables)

    @property
    def num_parameters(self) -> int:
        """Of the task's model, without adapters; frozen ones too, tied ones once."""
        return self._num_parameters

    def arrays(self) -> NamedArrays:
        """What travels; on a CPU, views of the model's own memory."""
        found = get_arrays(self.model, copy=False)
        return {name: np.require(array, requirements="C") for name, array in found.items()}

    def set_arrays(self, arrays: NamedArrays) -> None:
        """Copy arrays into the model."""
        set_arrays(self.model, arrays)

    def digest(self) -> str:
        """SHA-256 of the whole state dict."""
        return digest_of_model(self.model)

    def begin_round(self, seed: int) -> None:
        """Random generators from the seed, integer buffers as built."""
        seed_everything(seed)
        for name, buffer in self.model.named_buffers():
            if name in self._counters:
                buffer.copy_(self._counters[name])

    def batch(self, examples: Sequence[Any]) -> Any:
        """As torch's DataLoader makes it, on the device."""
        if self._private is not None:
            return self._private.batch(examples, self._collated)
        return self._collated(examples)

    def _collated(self, examples: Sequence[Any]) -> Any:
        try:
            return to_device(collate(examples), self._device)
        except Exception as error:
            raise TaskFailedError(method="dataset('train')[index]", cause=error) from error

    def step(self, batch: Any, *, learning_rate: float, where: str) -> float:
        """One AdamW step."""
        loss = self.compute_gradients(batch, where=where)
        self.apply_gradients(learning_rate=learning_rate)
        return loss

    def compute_gradients(self, batch: Any, *, where: str) -> float:
        """The loss of a batch; its gradients are left in the parameters."""
        if not self.model.training:
            self.model.train()
        if self._private is not None:
            rate = self._optimizer.param_groups[0]["lr"]
            return self._private.compute(batch, self._task.loss, where=where, learning_rate=rate)
        return compute_gradients(self.model, self._optimizer, batch, self._task.loss, where=where)

    def apply_gradients(self, *, learning_rate: float) -> None:
        """Clip the gradients that are there and take a step."""
        clip = self._config.gradient_clip
        apply_gradients(self._optimizer, learning_rate=learning_rate, gradient_clip=clip)

    def gradients(self) -> list[torch.Tensor]:
        """Gradients in the order of the parameters; an unused parameter has zeros, so that all agree."""
        gradients: list[torch.Tensor] = []
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        return gradients

    def float_buffers(self) -> list[torch.Tensor]:
        """The buffers that travel, in the order of their names."""
        tensors = travelling_tensors(self.model)
        return [tensors[name] for name in sorted(self.buffer_names)]

    def new_optimizer(self) -> None:
        """AdamW without a past."""
        self._made_optimizer = None

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        """Made when it is first used: a replica that only validates needs none, nor what it imports."""
        if self._made_optimizer is None:
            self._made_optimizer = make_optimizer(
                self.model, learning_rate=self._config.learning_rate, weight_decay=self._config.weight_decay
            )
        return self._made_optimizer

    def optimizer_arrays(self) -> NamedArrays:
        """AdamW's moments and step counts, named by the parameter's place: "3.exp_avg"."""
        return {
            f"{index}.{name}": view_or_array(torch.as_tensor(value))
            for index, state in self._optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }

    def blank_optimizer_arrays(self) -> NamedArrays:
        """Zeros in the form of `optimizer_arrays` after a step that every parameter took part in."""
        blank: NamedArrays = {}
        for index, parameter in enumerate(self._parameters()):
            blank[f"{index}.step"] = np.zeros((), np.float32)
            blank[f"{index}.exp_avg"] = np.zeros(parameter.shape, np.float32)
            blank[f"{index}.exp_avg_sq"] = np.zeros(parameter.shape, np.float32)
        return blank

    def set_optimizer_arrays(self, arrays: NamedArrays) -> bool:
        """Go on from earlier moments; False when they are those of another model."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, array in arrays.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = torch.from_numpy(array.copy())
        if not self._fits(state):
            return False
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        return True

    def _fits(self, state: dict[int, dict[str, torch.Tensor]]) -> bool:
        parameters = self._parameters()
        return all(
            index < len(parameters) and (value.ndim == 0 or value.shape == parameters[index].shape)
            for index, values in state.items()
            for value in values.values()
        )

    def _parameters(self) -> list[torch.Tensor]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def evaluate(self, dataset: Sequence[Any]) -> dict[str, float]:
        """The task's metrics over a dataset."""
        with seeded(self._seed, "evaluate"), one_thread():
            return evaluate(self._task, self.model, dataset, device=self._device)

    def mean_loss(self, examples: Sequence[Any]) -> float:
        """The task's loss over examples; see Replica."""
        self.model.eval()
        losses: list[float] = []
        try:
            with torch.no_grad(), seeded(self._seed, "evaluate"), one_thread():
                for batch in batches(examples, _LOSS_BATCH, device=self._device):
                    losses.append(float(self._task.loss(self.model, batch)))
        except Exception as error:
            raise TaskFailedError(method="loss", cause=error) from error
        finally:
            self.model.train()
        return sum(losses) / len(losses)

    def save(self, path: Path) -> None:
        """The whole state dict; tied weights under each of their names, so that strict loading works."""
        if self._config.adapter is not None:
            from ayni.train.adapter import merge_adapter

            self.model = merge_adapter(self.model)
        _save_whole(_untied(self.model.state_dict()), path)


def _load_first_weights(model: nn.Module, init_path: Path | None) -> tuple[str, ...]:
    """Take the weights that the job starts from; what did not fit, as sentences."""
    if init_path is None:
        return ()
    from ayni.train.initial import load_initial

    return tuple(load_initial(model, init_path))


def _with_adapter(model: nn.Module, config: TrainConfig, *, seed: int) -> nn.Module:
    if config.adapter is None:
        return model
    from ayni.train.adapter import add_adapter

    with seeded(seed, "adapter"):
        return add_adapter(model, config.adapter)


def _untied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, each with memory of its own: the format knows no sharing."""
    seen: set[int] = set()
    untied: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        value = on_cpu(tensor)
        untied[name] = value.clone() if value.untyped_storage().data_ptr() in seen else value
        seen.add(value.untyped_storage().data_ptr())
    return untied


def _save_whole(state: dict[str, torch.Tensor], path: Path) -> None:
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with explain_os_errors(path):
        try:
            with as_os_errors():
                safetensors.torch.save_file(state, temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)
