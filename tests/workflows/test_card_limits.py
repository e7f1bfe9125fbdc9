import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayni.compress.variants import CompressResult, Variant
from ayni.workflows.card_limits import card_limits

GOLDEN = Path(__file__).parents[1] / "reports" / "golden" / "run_inputs.json"


@pytest.fixture
def compressed() -> CompressResult:
    """Of a known run: int8 loses one class of ten, pruned loses them all and does not qualify."""
    return CompressResult.from_json(json.loads(GOLDEN.read_text())["results"]["compress"])


def with_last(compressed: CompressResult, last: Variant) -> CompressResult:
    return replace(compressed, variants=(*compressed.variants[:-1], last))


def test_a_class_that_pays_for_the_mean_is_named_of_variants_that_qualify(compressed: CompressResult) -> None:
    (sentence,) = (each.replace("\N{NO-BREAK SPACE}", " ") for each in card_limits(compressed))

    assert sentence == (
        "int8 answers some of the test data worse than its mean tells (it loses 0.50 pt in all), beyond "
        "chance: class 8 loses 8.0 pt (from 99.0 % to 91.0 %)."
    )
    pruned = compressed.variant("pruned").artefact.changes
    assert pruned is not None and pruned.hidden_losses


def test_the_warning_of_the_model_comes_first(compressed: CompressResult) -> None:
    warned = replace(compressed, warning="The weights were quantized before.")

    assert card_limits(warned)[0] == "The weights were quantized before."


def test_a_variant_that_is_slower_than_the_model_is_named(compressed: CompressResult) -> None:
    int8, full = compressed.variants[-1], compressed.variant("full")
    slow = replace(int8.latency, p50_seconds=1.8 * full.latency.p50_seconds)

    found = card_limits(with_last(compressed, replace(int8, latencies=(slow,))))

    assert any(
        each.startswith("int8 is slower than the full model") and " 1.8 times " in each for each in found
    )


def test_of_a_latency_that_is_not_to_be_quoted_nothing_is_concluded(compressed: CompressResult) -> None:
    int8 = compressed.variants[-1]
    doubtful = replace(int8.latency, p50_seconds=9.0, problem="9 of 10 calls waited")

    found = card_limits(with_last(compressed, replace(int8, latencies=(doubtful,))))

    assert not any("slower" in each for each in found)


def test_latencies_that_are_not_to_be_quoted_are_named_with_the_reason(compressed: CompressResult) -> None:
    int8 = compressed.variants[-1]
    doubtful = replace(int8.latency, problem="9 of 10 calls waited")

    found = card_limits(with_last(compressed, replace(int8, latencies=(doubtful,))))

    assert found[-1] == "Not to be quoted: the latency of int8 (9 of 10 calls waited)."


def test_a_model_against_which_nothing_is_known_has_no_limits(compressed: CompressResult) -> None:
    without = replace(compressed, variants=compressed.variants[:2])

    assert card_limits(without) == ()
