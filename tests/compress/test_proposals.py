"""Which pipelines are proposed for which model."""

from typing import Any

import pytest
from torch import nn

from ayni.compress.proposals import Traits, join, ladders_for, traits_of
from ayni.compress.search import Rung
from ayni.compress.steps import HalfStep, PruneStep, QuantizeStep, RecoverStep, Step


def traits(**changed: Any) -> Traits:
    given = {
        "num_layers": 4,
        "has_convolutions": True,
        "has_attention": False,
        "gives_scores": True,
        "has_examples": True,
        "can_train": True,
        **changed,
    }
    return Traits(**given)


def names(of: Traits) -> list[str]:
    return [ladder.name for ladder in ladders_for(of)]


def steps_of(of: Traits) -> list[Step]:
    return [step for ladder in ladders_for(of) for rung in ladder.rungs for step in rung.pipeline]


def rung(*steps: Step) -> Rung[tuple[Step, ...]]:
    return Rung(name="any", pipeline=steps)


def test_a_network_with_convolutions_may_lose_channels_and_a_transformer_heads() -> None:
    assert "channels" in names(traits())
    assert "heads" not in names(traits())
    transformer = traits(has_convolutions=False, has_attention=True)
    assert "heads" in names(transformer)
    assert "channels" not in names(transformer)


def test_without_training_nothing_that_trains_is_proposed() -> None:
    found = steps_of(traits(can_train=False))

    assert not any(isinstance(step, RecoverStep) or hasattr(step, "temperature") for step in found)
    assert any(isinstance(step, PruneStep) and step.weights for step in found)


def test_what_gives_no_scores_recovers_instead_of_being_distilled() -> None:
    found = steps_of(traits(gives_scores=False))

    assert any(isinstance(step, RecoverStep) for step in found)
    assert not any(hasattr(step, "temperature") for step in found)


def test_forms_that_err_in_different_ways_have_ladders_of_their_own() -> None:
    transformer = traits(has_convolutions=False, has_attention=True)

    found = {ladder.name: [one.name for one in ladder.rungs] for ladder in ladders_for(transformer)}

    assert found["8 bits"] == ["int8-smoothed"]
    assert found["8 bits in blocks"] == ["int8-mixed"]
    assert [one.name for one in ladders_for(traits())[0].rungs] == ["int8"]


def test_without_examples_no_activations_are_measured_beforehand() -> None:
    found = steps_of(traits(has_attention=True, has_examples=False, can_train=False))

    assert QuantizeStep() in found
    assert not any(isinstance(step, QuantizeStep) and step.mode in ("smoothed", "mixed") for step in found)


def test_openvino_is_proposed_where_it_is_installed() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")

    assert "OpenVINO" in names(traits())
    assert "OpenVINO weights" not in names(traits())
    assert "OpenVINO weights" in names(traits(has_attention=True))


def test_what_makes_models_faster_comes_before_what_makes_files_smaller_alone() -> None:
    found = names(traits())

    assert found.index("8 bits") < found.index("channels") < found.index("packed weights")
    assert found.index("packed weights") < found.index("low rank") < found.index("zeros")


def test_packed_weights_of_a_transformer_come_before_what_trains_it() -> None:
    found = names(traits(has_convolutions=False, has_attention=True))

    assert found.index("8 bits") < found.index("packed weights") < found.index("heads")


def test_rungs_grow_in_strength_and_have_names_of_their_own() -> None:
    ladders = ladders_for(traits())
    every = [one.name for ladder in ladders for one in ladder.rungs]

    assert len(set(every)) == len(every)
    (channels,) = (ladder for ladder in ladders if ladder.name == "channels")
    shares = [one.pipeline[0].channels for one in channels.rungs]  # type: ignore[union-attr]
    assert shares == sorted(shares)


def test_parts_are_joined_where_the_last_can_store_what_the_first_leave() -> None:
    pruned, sparse = rung(PruneStep(channels=0.5)), rung(PruneStep(weights=0.5))
    int8, int4, half = rung(QuantizeStep()), rung(QuantizeStep(bits=4)), rung(HalfStep())

    joined = join([pruned, int8])

    assert joined is not None
    assert joined.pipeline == (PruneStep(channels=0.5), QuantizeStep())
    assert joined.name == "pruned50-int8"
    assert join([pruned, int4]) is None
    assert join([sparse, int8]) is None
    assert join([sparse, int4]) is not None
    assert join([pruned, half]) is None
    assert join([int8, int4]) is None


def test_traits_are_read_off_the_modules() -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 12)

    found = traits_of(
        nn.Sequential(SelfAttention(), nn.Linear(4, 4)), gives_scores=False, has_examples=True, trains=False
    )

    assert (found.num_layers, found.has_attention, found.has_convolutions) == (2, True, False)
