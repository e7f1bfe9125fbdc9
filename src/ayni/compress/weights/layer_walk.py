"""Visit the layers of a model one after the other, each on what the changed layers before it compute.

A layer should be fitted to what it will see: the answers of layers that are compressed already. So every
calibration batch walks through the model on a thread of its own and waits in front of each layer. When
all wait at the same one, its statistics are taken from what they hold, the layer is compressed, and they
walk on through the compressed layer. One pass of each batch is enough, for any model that is called with
tensors and whatever lies between its layers. Only one thread runs at a time.

Layers that are given the very same tensor (query, key and value) are visited together. Layers that are
called several times in a pass take statistics of all calls, from passes of their own. A model that keeps
something from one call to the next would mix batches up that walk side by side; this is noticed, and each
layer's statistics then come from passes of their own (cost: one pass for each layer instead of one).

Memory: what the model itself holds in mid-pass, times the batches; a copy of the layers, for a failure; and
8 G I^2 bytes of statistics, for one layer at a time.

Source: the order is that of Frantar et al., "GPTQ", ICLR 2023, section 4, arXiv:2210.17323, which goes block
by block; ours goes layer by layer.

Not covered: layers that a model does not call as modules (inside torch's MultiheadAttention); models that
wait for other threads of their own within a pass.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.statistics import CalibrationError, InputStatistics, padding_mask
from ayni.compress.weights.survey import Survey, hooked, run_batch, survey_layers

MAX_POOL_THREADS = 64
"""Threads of torch's pools over all walking batches; each thread that computes gets a pool of its own."""
UNCALLED = "the calibration inputs never reach it"

Order = Literal["auto", "walk", "restart"]
Stops = Generator[tuple[tuple[str, ...], InputStatistics], None, None]
Visit = Callable[[tuple[str, ...], InputStatistics], None]


def visit_layers(
    model: nn.Module,
    inputs: Sequence[ModelInputs],
    layers: Mapping[str, nn.Module],
    visit: Visit,
    *,
    original: nn.Module | None = None,
    with_gram: bool = True,
    order: Order = "auto",
) -> tuple[str, ...]:
    """Call `visit(names, statistics)` for each group of layers, in the order in which the model calls them.

    When it is called, all layers that come before are as earlier visits left them, and the named layers are
    all given the rows of `statistics`. `visit` changes their weights. When anything fails, all weights are
    put back as they were. The model is in evaluation mode meanwhile, and torch's random state comes back.

    Args:
        model: on one device, with the inputs.
        inputs: calibration batches.
        layers: of `matrix_layers(model)`.
        visit: see above.
        original: a copy of the model, which stays as it is. Then statistics also say how far the inputs have
            drifted from what the original computes. Doubles the cost and the memory of walking.
        with_gram: False collects squared norms only.
        order: "walk" takes one pass of each batch and holds all of them in mid-pass; "restart" takes a pass
            for each group of layers and holds one; "auto" walks unless the model keeps state.

    Returns:
        Names of the layers that were never called, and so not visited.

    Raises:
        CalibrationError: no inputs, or the model fails on them or computes numbers that are not finite.
    """
    if not inputs:
        raise CalibrationError("there are none")
    models = [model] if original is None else [model, original]
    with contextlib.ExitStack() as stack:
        for each in models:
            stack.enter_context(_at_rest(each))
        stack.enter_context(_restored_on_failure(layers, original))
        survey = survey_layers(model, inputs, layers)
        is_walk = order == "walk" or (order == "auto" and not survey.keeps_state)
        tour = _Tour(models, inputs, layers, survey, with_gram=with_gram)
        visited = tour.run(visit, is_walk=is_walk)
    return tuple(name for name in layers if name not in visited)


class _Abandoned(BaseException):
    """Ends a pass whose rest is of no interest. No Exception: models that catch those must not see it."""


class _Walker(threading.Thread):
    """One batch on its way through the model. Exactly one of the walkers or their leader runs at a time."""

    def __init__(self, batch: ModelInputs, model: nn.Module, index: int) -> None:
        super().__init__(daemon=True)
        self.waiting_at: str | None = None
        self.activation: Tensor | None = None
        self.mask = padding_mask(batch)
        self._pass = (batch, model, index)
        self._error: BaseException | None = None
        self._go: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._stopped: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set_out(self, num_threads: int) -> None:
        """Walk to the first layer. A new thread takes torch's global number of threads as it is then."""
        usual = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        self.start()
        try:
            self._wait()
        finally:
            torch.set_num_threads(usual)

    def go_on(self) -> None:
        """Walk to the next layer, or to the end."""
        self.waiting_at = self.activation = None
        self._go.put(True)
        self._wait()

    def stop_at(self, name: str, activation: Tensor) -> None:
        """Called on the walker's own thread, in front of a layer."""
        self.waiting_at, self.activation = name, activation
        self._stopped.put(None)
        if not self._go.get():
            raise _Abandoned

    def abandon(self) -> None:
        """End the thread, if it still waits."""
        if self.is_alive():
            self._go.put(False)
            self.join()
        self.activation = None

    def run(self) -> None:
        """Called by the thread itself."""
        try:
            with torch.no_grad():  # The setting belongs to the thread.
                run_batch(*self._pass)
        except _Abandoned:
            pass
        except BaseException as error:
            self._error = error
        self.waiting_at = self.activation = None
        self._stopped.put(None)

    def _wait(self) -> None:
        self._stopped.get()
        if self._error is not None:
            raise self._error


class _Tour:
    """All batches through all layers; beside them, where it is wanted, through the model as it was."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        inputs: Sequence[ModelInputs],
        layers: Mapping[str, nn.Module],
        survey: Survey,
        *,
        with_gram: bool,
    ) -> None:
        self._models, self._inputs, self._layers = models, inputs, layers
        self._survey, self._with_gram = survey, with_gram

    def run(self, visit: Visit, *, is_walk: bool) -> set[str]:
        """Visit everything that is reached, and name what was visited."""
        visited: set[str] = set()
        # Closed at once when a visit fails: its threads wait.
        with contextlib.closing(self._walk() if is_walk else self._restarts()) as stops:
            for names, statistics in stops:
                if statistics.num_rows:
                    visit(names, statistics)
                    visited.update(names)
        return visited

    def _restarts(self) -> Stops:
        for name, names in self._survey.groups.items():
            yield names, self._from_passes(name)

    def _walk(self) -> Stops:
        leaders = list(self._survey.groups)
        rank = {name: index for index, name in enumerate(leaders)}
        parties = [
            [_Walker(batch, model, index) for model in self._models]
            for index, batch in enumerate(self._inputs)
        ]
        walkers = [walker for party in parties for walker in party]
        num_threads = max(1, min(torch.get_num_threads(), MAX_POOL_THREADS // len(walkers)))
        visited: set[str] = set()

        def wait(name: str, _layer: nn.Module, activation: Tensor) -> None:
            walker = threading.current_thread()
            if isinstance(walker, _Walker) and name not in visited:
                walker.stop_at(name, activation)

        try:
            with contextlib.ExitStack() as hooks:
                for model in self._models:
                    hooks.enter_context(hooked({name: model.get_submodule(name) for name in leaders}, wait))
                for walker in walkers:
                    walker.set_out(num_threads)
                while len(visited) < len(leaders):
                    reached = [
                        str(party[0].waiting_at) for party in parties if party[0].waiting_at is not None
                    ]
                    if not reached:
                        break  # Compression led all batches past the rest (experts that are chosen by input).
                    name = min(reached, key=rank.__getitem__)
                    for walker in walkers:
                        while walker.waiting_at is not None and rank[walker.waiting_at] < rank[name]:
                            walker.go_on()  # The model as it was takes a way of its own.
                    yield self._survey.groups[name], self._from_walkers(name, parties)
                    visited.add(name)
                    if len(visited) < len(leaders):
                        for walker in walkers:
                            if walker.waiting_at == name:
                                walker.go_on()
        finally:
            for walker in walkers:
                walker.abandon()

    def _from_walkers(self, name: str, parties: Sequence[Sequence[_Walker]]) -> InputStatistics:
        if self._survey.num_calls[name] > 1:
            return self._from_passes(name)
        statistics = InputStatistics(self._layers[name], self._with_gram)
        for first, *others in parties:
            if first.waiting_at == name and first.activation is not None:
                here = next((other.activation for other in others if other.waiting_at == name), None)
                statistics.add(first.activation, first.mask, original=here)
        return statistics

    def _from_passes(self, name: str) -> InputStatistics:
        """Statistics of every call in passes of their own."""
        statistics = InputStatistics(self._layers[name], self._with_gram)
        for index, batch in enumerate(self._inputs):
            first, *others = [self._calls(model, name, batch, index) for model in self._models]
            before = others[0] if others and len(others[0]) == len(first) else [None] * len(first)
            for activation, original in zip(first, before, strict=True):
                statistics.add(activation, padding_mask(batch), original=original)
        return statistics

    def _calls(self, model: nn.Module, name: str, batch: ModelInputs, index: int) -> list[Tensor]:
        """What the layer is given in one pass, which ends after its last call."""
        taken: list[Tensor] = []

        def take(_name: str, _layer: nn.Module, activation: Tensor) -> None:
            taken.append(activation.clone())  # The model may change it in place later.
            if len(taken) == self._survey.num_calls[name]:
                raise _Abandoned

        with contextlib.suppress(_Abandoned), hooked({name: model.get_submodule(name)}, take):
            run_batch(batch, model, index)
        return taken


@contextlib.contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; random state and each module's mode come back."""
    modes = {module: module.training for module in model.modules()}
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    indices = [device.index or 0 for device in devices if device.type == "cuda"]
    try:
        with torch.random.fork_rng(devices=indices), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training


@contextlib.contextmanager
def _restored_on_failure(layers: Mapping[str, nn.Module], original: nn.Module | None) -> Iterator[None]:
    weights = [parameter for layer in layers.values() for parameter in layer.parameters()]
    if original is None:
        copies = [weight.detach().clone() for weight in weights]
    else:
        copies = [parameter for name in layers for parameter in original.get_submodule(name).parameters()]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for weight, copy in zip(weights, copies, strict=True):
                weight.copy_(copy)
        raise
