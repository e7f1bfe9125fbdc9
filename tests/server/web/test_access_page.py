import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import words

from ayni.server.web.access_page import gate_of

CARD = b"""---
extra_gated_prompt: Use it <b>for good</b> alone.
extra_gated_fields:
  Institution: text
  I agree: checkbox
  Purpose:
    type: select
    options: [Research, {label: Else, value: other}]
---
# Secret words
"""


@pytest.fixture
def gated(place: Place) -> Place:
    place.commit("lab/gated", {"README.md": CARD})
    return place


def test_the_form_asks_what_the_card_wants_to_know(gated: Place) -> None:
    page = gated.visitor("outsider").page("/lab/gated")

    assert '<label for="field-0">I agree</label>' in page or "I agree" in page
    assert "<option>other</option>" in page
    assert "Use it &lt;b&gt;for good&lt;/b&gt; alone." in page
    assert "Secret words" not in page


def test_asking_waits_for_the_owners_whose_answer_opens_the_files(gated: Place) -> None:
    visitor, owner = gated.visitor("outsider"), gated.visitor("writer")
    fields = {name: f"field-{number}" for number, name in enumerate(("I agree", "Institution", "Purpose"))}
    page = visitor.page("/lab/gated")
    keys = {name: page.partition(f">{name}</label>")[0].rpartition('for="')[2].rstrip('"') for name in fields}

    visitor.post(
        "/lab/gated/access",
        **{keys["Institution"]: "Letters <i>", keys["I agree"]: "on", keys["Purpose"]: "Research"},
    )
    assert "owners have not answered yet" in visitor.page("/lab/gated")
    waiting = owner.page("/lab/gated/access")
    assert "Letters &lt;i&gt;" in waiting
    assert "I agree yes" in words(waiting)
    number = waiting.partition('name="number" value="')[2].partition('"')[0]
    owner.post("/lab/gated/access/answer", number=number, status="accepted")

    assert "Secret words" in visitor.page("/lab/gated")
    assert visitor.get("/lab/gated/raw/main/secret.txt").status_code == 200


def test_a_refusal_tells_its_reason_and_stays(gated: Place) -> None:
    visitor, owner = gated.visitor("outsider"), gated.visitor("admin")
    visitor.post("/lab/gated/access")
    number = owner.page("/lab/gated/access").partition('name="number" value="')[2].partition('"')[0]

    owner.post("/lab/gated/access/answer", number=number, status="rejected", reason="Not <b>now</b>.")
    page = visitor.page("/lab/gated")

    assert "Not &lt;b&gt;now&lt;/b&gt;." in page
    assert visitor.post("/lab/gated/access/withdraw").status_code == 400
    assert "The owners refused" in visitor.page("/lab/gated")


def test_a_request_can_be_taken_back(gated: Place) -> None:
    visitor = gated.visitor("outsider")
    visitor.post("/lab/gated/access")

    assert visitor.post("/lab/gated/access/withdraw").status_code == 303
    assert "Ask for access" in visitor.page("/lab/gated")


@pytest.mark.parametrize(
    "fields",
    [{}, {"number": "x", "status": "accepted"}, {"number": "1", "status": "odd"}, {"number": "9" * 30}],
)
def test_an_answer_to_nothing_is_refused(gated: Place, fields: dict[str, str]) -> None:
    assert gated.visitor("admin").post("/lab/gated/access/answer", **fields).status_code == 400


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        "text",
        {"": "text"},
        {"a": ["text"]},
        {"a": {"type": "select"}},
        {"a": {"type": {}}},
        {1: "odd"},
    ],
)
def test_a_card_that_describes_no_form_asks_nothing(fields: object) -> None:
    assert gate_of({"extra_gated_fields": fields, "extra_gated_prompt": {"x": 1}}).fields == ()


def test_a_form_has_no_end_of_fields_or_options() -> None:
    many = {str(number): {"type": "select", "options": list(range(1000))} for number in range(1000)}

    found = gate_of({"extra_gated_fields": many})

    assert len(found.fields) == 30
    assert len(found.fields[0].options) == 100
