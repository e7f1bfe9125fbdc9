import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.footprint.pretended_node import Node
from tests.server.web.conftest import Place
from tests.server.web.visitors import words

from ayni.hub.git_objects import TreeEntry
from ayni.objects import ObjectStore
from ayni.server.web.receipts_view import MOST_RECEIPTS, ReceiptsView, receipts_view
from ayni.signing import load_or_create_key


@pytest.fixture
def receipts(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Two steps of a run, by path."""
    node = Node(tmp_path / "node")
    meter = node.start("r1", cores=2)
    node.work(100.0, {"r1": 50.0})
    meter.end_step()
    meter.begin_step("compress")
    node.work(10.0, {"r1": 5.0})
    node.stop("r1")
    folder = node.sign("r1", load_or_create_key(tmp_path / "key.pem")) / "receipts"
    return {f"receipts/{path.name}": json.loads(path.read_text()) for path in sorted(folder.iterdir())}


def view(tmp_path: Path, contents: dict[str, Any], known: dict[str, str] | None = None) -> ReceiptsView:
    store, files = ObjectStore(str(tmp_path / "objects")), {}
    for path, value in contents.items():
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        sha256 = store.put(io.BytesIO(content))
        name = path.rpartition("/")[2]
        files[path] = TreeEntry(name=name, mode="100644", git_sha1="", sha256=sha256, size_bytes=len(content))
    return receipts_view(store, files, known or {})


def key_of(receipts: dict[str, dict[str, Any]]) -> str:
    return str(next(iter(receipts.values()))["public_key"])


def test_receipts_of_a_known_key_are_verified_and_added_up(
    tmp_path: Path, receipts: dict[str, dict[str, Any]]
) -> None:
    found = view(tmp_path, receipts, {key_of(receipts): "node one"})

    assert found.state == "verified"
    assert found.owners == {key_of(receipts): "node one"}
    assert found.footprint is not None
    total = sum(each["energy_microjoules"] for each in receipts.values()) / 1e6
    assert found.footprint["energy_joules"] == pytest.approx(total)
    assert [step["step"] for step in found.footprint["steps"]] == ["train", "compress"]


def test_receipts_of_a_key_that_nobody_vouches_for_are_only_sound(
    tmp_path: Path, receipts: dict[str, dict[str, Any]]
) -> None:
    found = view(tmp_path, receipts, {"A" * 43 + "=": "somebody else"})

    assert found.state == "sound"
    assert found.owners == {}
    assert found.footprint is not None


def spoil(receipts: dict[str, dict[str, Any]], how: str) -> dict[str, Any]:
    first, second = receipts
    without_cost = {name: value for name, value in receipts[first].items() if name != "cost"}
    spoilt: dict[str, dict[str, Any]] = {
        "a number": {**receipts, first: {**receipts[first], "energy_microjoules": 1}},
        "one is gone": {second: receipts[second]},
        "the order": {first: receipts[second], second: receipts[first]},
        "no JSON": {**receipts, first: b"{"},
        "deep": {**receipts, first: b"[" * 100_000},
        "a list": {**receipts, first: []},
        "a field": {**receipts, first: without_cost},
        "too large": {**receipts, first: b" " * (1 << 20)},
    }
    return spoilt[how]


@pytest.mark.parametrize(
    "how", ["a number", "one is gone", "the order", "no JSON", "deep", "a list", "a field", "too large"]
)
def test_receipts_that_do_not_hold_are_not_added_up(
    tmp_path: Path, receipts: dict[str, dict[str, Any]], how: str
) -> None:
    found = view(tmp_path, spoil(receipts, how), {key_of(receipts): "node one"})

    assert found.state == "broken"
    assert found.problems
    assert found.footprint is None


def test_receipts_of_another_version_are_neither_good_nor_bad(
    tmp_path: Path, receipts: dict[str, dict[str, Any]]
) -> None:
    old = {path: {**each, "schema": "ayni/receipt/1"} for path, each in receipts.items()}

    found = view(tmp_path, old)

    assert found.state == "other"
    assert "'ayni/receipt/1'" in found.problems[0]


def test_there_may_be_none_or_too_many(tmp_path: Path, receipts: dict[str, dict[str, Any]]) -> None:
    first = next(iter(receipts.values()))
    many = {f"receipts/{number:04d}-train.json": first for number in range(MOST_RECEIPTS + 1)}

    assert view(tmp_path, {"receipts/deep/x.json": b"", "other.json": b""}).state == "none"
    assert view(tmp_path, many).state == "broken"


def test_the_page_shows_energy_carbon_and_money_of_each_step(
    place: Place, receipts: dict[str, dict[str, Any]]
) -> None:
    place.commit("lab/public", {path: json.dumps(each).encode() for path, each in receipts.items()})

    page = words(place.visitor().page("/lab/public/receipts"))

    assert "Not verified by anybody here" in page
    for text in ("Energy 660 J", "Money", "zone DE", "train", "compress", "W1"):
        assert text in page, text
    assert "receipts hold, signer not known" in words(place.visitor().page("/lab/public"))


def test_the_page_of_broken_receipts_says_what_is_wrong_as_text(
    place: Place, receipts: dict[str, dict[str, Any]]
) -> None:
    first = next(iter(receipts))
    place.commit("lab/public", {first: json.dumps({**receipts[first], "tier": "<b>x</b>"}).encode()})

    page = place.visitor().page("/lab/public/receipts")

    assert "do not hold" in page
    assert "<b>x</b>" not in page
    assert "receipts do not hold" in words(place.visitor().page("/lab/public"))


def test_a_repository_without_receipts_says_how_they_come(place: Place) -> None:
    assert "There are no receipts here" in place.visitor().page("/lab/public/receipts")
