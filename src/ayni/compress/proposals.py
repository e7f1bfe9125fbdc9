"""Which pipelines are worth trying for a model, by what it is made of and what this machine computes.

    forms       int8, smoothed int8, 16 bits, packed weights   no training, so they come first
    weights     zeros and low rank                             with recovery where training is allowed
    structure   channels and heads that go                     with distillation or recovery

Each ladder holds one kind at growing strength; `ayni.compress.search` climbs it and joins what held.

Not covered: pipelines of one kind twice; learning from other models.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ayni.compress.deploy.torch_variants import computes_bfloat16
from ayni.compress.search import Ladder, Rung
from ayni.compress.steps import (
    STORING_STEPS,
    DistillStep,
    FactorizeStep,
    HalfStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    Step,
)
from ayni.compress.variant_names import pipeline_name
from ayni.compress.weights.layers import CONVOLUTIONS, matrix_layers

Pipeline = tuple[Step, ...]
STRUCTURE, WEIGHTS, FORM = 1, 2, 3
"""Places in a pipeline: what changes shapes, what changes weights, what stores them."""
CHANNELS = (0.25, 0.4, 0.5, 0.6, 0.75)
HEADS = (0.17, 0.25, 0.5)
SPARSITIES = (0.3, 0.5, 0.7)
RATIOS = (0.75, 0.5, 0.35)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model is made of, as far as proposals depend on it.

    has_attention: some module is an attention. gives_scores: answers are scores of classes, so that it can be
    distilled. has_examples: the training split has some, by which activations can be measured. can_train: and
    training is allowed.
    """

    num_layers: int
    has_convolutions: bool
    has_attention: bool
    gives_scores: bool
    has_examples: bool
    can_train: bool


def traits_of(model: nn.Module, *, gives_scores: bool, has_examples: bool, trains: bool) -> Traits:
    """Look at the modules of a model; nothing is run."""
    layers = matrix_layers(model)
    return Traits(
        num_layers=len(layers),
        has_convolutions=any(isinstance(layer, CONVOLUTIONS) for layer in layers.values()),
        has_attention=any("attention" in type(module).__name__.lower() for module in model.modules()),
        gives_scores=gives_scores,
        has_examples=has_examples,
        can_train=has_examples and trains,
    )


def ladders_for(traits: Traits) -> list[Ladder[Pipeline]]:
    """Ladders for such a model, in the order in which they are worth their time."""
    steps = [(QuantizeStep(bits=bits, runtime="torch"),) for bits in (8, 4, 3)]
    packed, training = _ladder("packed weights", FORM, steps), _training(traits)
    structure = _structure(traits, training) if traits.can_train else []
    # Half of the channels and 8 bits make a smaller file than 3 bits do, and a faster one; heads are a small
    # part of a transformer, and long to train.
    ladders = _forms(traits) + ([packed, *structure] if traits.has_attention else [*structure, packed])
    if traits.can_train and traits.num_layers > 1:
        ladders.append(
            _ladder("low rank", WEIGHTS, [(FactorizeStep(ratio=ratio), training) for ratio in RATIOS])
        )
    after = (RecoverStep(),) if traits.can_train else ()
    ladders.append(_ladder("zeros", WEIGHTS, [(PruneStep(weights=share), *after) for share in SPARSITIES]))
    return ladders


def join(rungs: Sequence[Rung[Pipeline]]) -> Rung[Pipeline] | None:
    """One after the other, if the last one can store what the others leave."""
    pipeline = tuple(step for rung in rungs for step in rung.pipeline)
    last = pipeline[-1]
    if any(isinstance(step, STORING_STEPS) for step in pipeline[:-1]):
        return None
    keeps_weights_only = isinstance(last, HalfStep) or (
        isinstance(last, QuantizeStep) and last.torch_runtime in ("torch", "packed")
    )
    is_masked = any(isinstance(step, PruneStep) and step.makes_masks for step in pipeline)
    is_reshaped = any(
        isinstance(step, FactorizeStep) or (isinstance(step, PruneStep) and not step.makes_masks)
        for step in pipeline
    )
    # Zeros make no ONNX file smaller, and weights alone do not fit a model of another shape.
    if keeps_weights_only == is_reshaped or (is_masked and not keeps_weights_only):
        return None
    return Rung(name=pipeline_name(pipeline), pipeline=pipeline)


def _forms(traits: Traits) -> list[Ladder[Pipeline]]:
    """Forms whose errors are of different kinds have ladders of their own: one says nothing of the next."""
    ladders = []
    if traits.has_attention and traits.has_examples:
        # Both take the bytes of plain dynamic ranges and lose less; smoothing takes no more time either.
        ladders.append(_ladder("8 bits", FORM, [(QuantizeStep(mode="smoothed"),)]))
        ladders.append(_ladder("8 bits in blocks", FORM, [(QuantizeStep(mode="mixed"),)]))
    else:
        ladders.append(_ladder("8 bits", FORM, [(QuantizeStep(),)]))
    if importlib.util.find_spec("openvino") and importlib.util.find_spec("nncf"):
        if traits.has_examples:
            ladders.append(_ladder("OpenVINO", FORM, [(QuantizeStep(runtime="openvino"),)]))
            if traits.has_attention:
                # It costs up to a tenth of the speed, and transformers have activations that lie to one side.
                asymmetric = QuantizeStep(runtime="openvino", mode="asymmetric")
                ladders.append(_ladder("OpenVINO with zero points", FORM, [(asymmetric,)]))
        if traits.has_attention:
            weights = [
                QuantizeStep(runtime="openvino", mode="weights"),
                QuantizeStep(runtime="openvino", bits=4),
            ]
            ladders.append(_ladder("OpenVINO weights", FORM, [(step,) for step in weights]))
    if computes_bfloat16():
        ladders.append(_ladder("16 bits", FORM, [(HalfStep(),)]))
    return ladders


def _structure(traits: Traits, training: Step) -> list[Ladder[Pipeline]]:
    ladders = []
    if traits.has_attention:
        ladders.append(_ladder("heads", STRUCTURE, [(PruneStep(heads=share), training) for share in HEADS]))
    if traits.has_convolutions or not traits.has_attention:
        ladders.append(
            _ladder("channels", STRUCTURE, [(PruneStep(channels=share), training) for share in CHANNELS])
        )
    return ladders


def _training(traits: Traits) -> Step:
    return DistillStep() if traits.gives_scores else RecoverStep(learning_rate=5e-4)


def _ladder(name: str, place: int, pipelines: Sequence[Pipeline]) -> Ladder[Pipeline]:
    rungs = [Rung(name=pipeline_name(pipeline), pipeline=pipeline) for pipeline in pipelines]
    return Ladder(name=name, place=place, rungs=rungs)
