"""Results of a run verify where nothing was changed, and nowhere else."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hub.run_evidence import WEIGHTS, receipts, results

from ayni.hub.run_results import BadRunResultsError, verify_results
from ayni.signing import SIGNATURE_FIELDS, SigningKey, load_or_create_key, sha256_hex, sign_record

FILES = {path: sha256_hex(content) for path, content in WEIGHTS.items()}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


def test_results_verify_with_the_energy_of_their_run(key: SigningKey) -> None:
    given = receipts(key)

    found = verify_results(results(key, given), files=FILES, receipts=given)

    assert (found.joules, found.low_joules, found.tiers) == (7.0, 7.0, ("W3",))
    assert [each.variant for each in found.results] == ["full", "int8"]
    assert found.public_key == key.public_key


def test_a_receipt_of_unknown_energy_leaves_the_sum_unknown(key: SigningKey) -> None:
    given = receipts(key, joules=(3.0, None))

    assert verify_results(results(key, given), files=FILES, receipts=given).joules is None


def signed_again(key: SigningKey, record: dict[str, Any], **changed: Any) -> dict[str, Any]:
    body = {name: value for name, value in record.items() if name not in SIGNATURE_FIELDS}
    return sign_record({**body, **changed}, key)


def test_what_was_changed_does_not_verify(key: SigningKey, tmp_path: Path) -> None:
    given = receipts(key)
    good = results(key, given)
    better = copy.deepcopy(good)
    better["results"][0]["metrics"]["accuracy"] = 0.99
    other = load_or_create_key(tmp_path / "other.pem")
    cases: list[tuple[dict[str, Any], list[Any], dict[str, str]]] = [
        (better, given, FILES),
        (good, given[:1], FILES),
        (good, [], FILES),
        (good, given[::-1], FILES),
        (good, receipts(other), FILES),
        (good, receipts(key, run="run-2"), FILES),
        (good, given, {**FILES, "int8.onnx": "0" * 64}),
        (good, given, {"int8.onnx": FILES["int8.onnx"]}),
        (signed_again(key, good, schema="x"), given, FILES),
        (signed_again(key, good, run="run-2"), given, FILES),
        (signed_again(key, good, results=[]), given, FILES),
        (signed_again(key, good, results=[{"variant": "x"}]), given, FILES),
        (signed_again(key, good, dataset=7), given, FILES),
        ({}, given, FILES),
    ]
    for record, beside, files in cases:
        with pytest.raises(BadRunResultsError, match="does not verify"):
            verify_results(record, files=files, receipts=beside)


@pytest.mark.parametrize("bad", [-1, 0, True, "1", 1e400])
def test_amounts_are_amounts(key: SigningKey, bad: Any) -> None:
    given = receipts(key)
    changed = copy.deepcopy(results(key, given)["results"])
    changed[0]["stored_bytes"] = bad
    make: Callable[[], Any] = lambda: signed_again(key, results(key, given), results=changed)  # noqa: E731

    with pytest.raises((BadRunResultsError, ValueError)):
        verify_results(make(), files=FILES, receipts=given)
