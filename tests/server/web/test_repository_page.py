import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.server.web.conftest import Place
from tests.server.web.visitors import outline, words

from ayni.hub.model_signatures import sign_model

CARD = b"""---
license: mit
tags: [tiny, '<b>tag</b>']
---
# A card

See [the notes](notes.md) and ![a picture](p.png).
"""


def test_the_card_stands_beside_what_the_hub_found(place: Place) -> None:
    place.commit("lab/public", {"README.md": CARD})

    page = place.visitor().page("/lab/public")

    assert '<h2 id="card-a-card">A card</h2>' in page
    assert 'href="/lab/public/blob/main/notes.md"' in page
    text = words(page)
    for fact in (
        "licence mit",
        "files scanned",
        "hf download lab/public",
        "git clone http://127.0.0.1:8000/lab/public",
        "4 files",
    ):
        assert fact in text, fact
    assert "ayni.load" not in text
    assert "&lt;b&gt;tag&lt;/b&gt;" in page


def test_only_what_a_run_published_is_said_to_be_loadable(place: Place) -> None:
    for content, is_loadable in ((b'{"ayni": {"task": "task:Task"}}', True), (b"[[[", False), (b"[]", False)):
        place.commit("lab/public", {"config.json": content})

        assert ('ayni.load("lab/public")' in words(place.visitor().page("/lab/public"))) == is_loadable


@pytest.mark.parametrize(
    ("kind", "prefix", "words_of"), [("dataset", "/datasets", "Data set"), ("space", "/spaces", "Space")]
)
def test_data_sets_and_spaces_have_pages_under_their_own_addresses(
    place: Place, kind: str, prefix: str, words_of: str
) -> None:
    place.make("thing", kind)
    visitor = place.visitor()

    page = visitor.page(f"{prefix}/lab/thing")

    assert words_of in words(page)
    assert f"--repo-type {kind}" in words(page)
    assert visitor.get("/lab/thing").status_code == 404
    for link in outline(page).all("a"):
        address = link.attributes["href"]
        if address.startswith(f"{prefix}/lab/thing"):
            assert visitor.get(address).status_code == 200, address


def test_a_signature_of_nobody_known_is_not_called_verified(place: Place) -> None:
    contents = {"README.md": CARD}
    digests = {path: hashlib.sha256(each).hexdigest() for path, each in contents.items()}
    bundle = sign_model("<b>x</b>", digests, ec.generate_private_key(ec.SECP256R1()))
    place.commit("lab/public", {**contents, "model.sig": bundle})

    page = place.visitor().page("/lab/public")

    text = words(page)
    assert "signed by a key not known here" in text
    assert "on its own it proves little" in text
    assert "Covers 1 file; 0 changed since, 0 missing, 2 not signed." in text
    assert "<b>x</b>" not in page


def test_a_dangerous_file_is_badged(place: Place) -> None:
    place.commit("lab/public", {"odd.pkl": b"\x80\x04c__main__\nThing\n)R."})

    assert "pickle, imports code that nobody has looked at" in words(place.visitor().page("/lab/public"))


def test_a_repository_without_a_card_or_without_files_says_so(place: Place) -> None:
    place.lab.fresh("public")
    names = place.client.get("/api/models?search=fresh", token=None).json()

    assert "Nothing was uploaded yet" in place.visitor().page(f"/{names[0]['id']}")
    assert "There is no card" in place.visitor().page("/lab/public")


def test_likes_are_given_and_taken_back(place: Place) -> None:
    visitor = place.visitor("outsider")
    assert "Likes 0 Like" in words(visitor.page("/lab/public"))

    visitor.post("/lab/public/like", change="like")
    assert "Likes 1 You like it; take it back" in words(visitor.page("/lab/public"))
    visitor.post("/lab/public/like", change="unlike")

    assert "Likes 0 Like" in words(visitor.page("/lab/public"))
    assert '<button class="link"' not in place.visitor().page("/lab/public")
