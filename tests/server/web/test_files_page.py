import base64
import json
import pickle
import struct

import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import outline, rows, words

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = "<b onclick=x>.txt"


def safetensors(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.fixture(scope="module")
def filled(shared_place: Place) -> Place:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {}})
    shared_place.commit(
        "lab/public",
        {
            "docs/a.md": b"# Deep <b onclick=x>title</b>\n\n![p](p.png)\n",
            "docs/p.png": PNG,
            "model.safetensors": safetensors(header.encode(), bytes(24)),
            "odd.safetensors": safetensors(b"{"),
            "cut.safetensors": struct.pack("<Q", 1 << 60),
            "weights.pkl": pickle.dumps([1.0]),
            HOSTILE: b"hello <b>you</b>",
            "blob.bin": b"\0\1\2",
            "long.txt": b"x" * 300_000,
            "empty.txt": b"",
            "sp ace#?%.txt": b"found",
        },
        message="Add many <i>files</i>\n\nWith a word <b>about</b> them.",
    )
    return shared_place


def test_a_folder_lists_folders_first_with_sizes_and_badges(filled: Place) -> None:
    page = filled.visitor().page("/lab/public/tree/main")

    found = rows(page)
    assert found[0].startswith("Folder docs/ Add many")
    assert any(row.startswith("weights.pkl pickle, imports only what builds tensors 2") for row in found)
    assert "300 kB" in words(page)
    assert "Add many &lt;i&gt;files&lt;/i&gt;" in page
    outline(page)


def test_every_address_in_a_folder_leads_to_its_file(filled: Place) -> None:
    visitor = filled.visitor()
    page = outline(visitor.page("/lab/public/tree/main"))

    links = [each.attributes["href"] for each in page.all("a") if "tbody" in each.parents]

    assert len(links) == 13
    for link in links:
        assert visitor.get(link).status_code == 200, link


def test_a_long_folder_comes_in_pages_with_links_between_them(place: Place) -> None:
    names = [f"{number:03d}.txt" for number in range(103)]
    place.commit("lab/public", {**{f"all/{each}": b"x" for each in names}, "all/z/deep.txt": b"y"})
    visitor = place.visitor()

    first = outline(visitor.page("/lab/public/tree/main/all"))
    links = {each.attributes.get("rel"): each.attributes["href"] for each in first.all("a")}
    second_text = visitor.page(links["next"])
    second = outline(second_text)

    shown = [
        each.attributes["href"].rpartition("/")[2]
        for page in (first, second)
        for each in page.all("a")
        if "tbody" in each.parents
    ]
    assert shown == ["z", *names]
    assert "104 entries" in words(second_text)
    assert "Page 2 of 2" in words(second_text)
    back = {each.attributes.get("rel"): each.attributes["href"] for each in second.all("a")}
    assert back["prev"] == "/lab/public/tree/main/all"
    assert "next" not in back


@pytest.mark.parametrize(
    ("asked", "status"), [("2", 404), ("0", 400), ("-1", 400), ("x", 400), ("9" * 30, 400)]
)
def test_a_page_of_a_folder_that_is_none_is_refused(filled: Place, asked: str, status: int) -> None:
    assert filled.visitor().get(f"/lab/public/tree/main?p={asked}").status_code == status


def test_a_text_is_shown_as_text(filled: Place) -> None:
    page = filled.visitor().page("/lab/public/blob/main/%3Cb%20onclick%3Dx%3E.txt")

    assert "hello &lt;b&gt;you&lt;/b&gt;" in page
    assert "<b onclick" not in page


def test_names_with_signs_of_addresses_are_found(filled: Place) -> None:
    assert "found" in filled.visitor().page("/lab/public/blob/main/sp%20ace%23%3F%25.txt")


def test_a_card_in_a_folder_shows_its_pictures(filled: Place) -> None:
    visitor = filled.visitor()

    page = outline(visitor.page("/lab/public/blob/main/docs/a.md"))
    source = page.all("img")[0].attributes["src"]
    picture = visitor.get(source)

    assert source == "/lab/public/raw/main/docs/p.png"
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == PNG
    assert [each.attributes.get("onclick") for each in page.all("b")] == [None]


def test_the_tensors_of_a_file_are_listed_by_its_header_alone(filled: Place) -> None:
    page = filled.visitor().page("/lab/public/blob/main/model.safetensors")

    assert "1 tensor" in words(page)
    assert "2 x 3" in words(page)


@pytest.mark.parametrize("name", ["odd.safetensors", "cut.safetensors", "blob.bin"])
def test_what_cannot_be_shown_says_so(filled: Place, name: str) -> None:
    assert "no text that can be shown" in filled.visitor().page(f"/lab/public/blob/main/{name}")


def test_a_long_text_is_cut_and_an_empty_one_is_empty(filled: Place) -> None:
    long = filled.visitor().page("/lab/public/blob/main/long.txt")

    assert len(long) < 210_000
    assert "The rest is not shown" in long
    assert "<code></code>" in filled.visitor().page("/lab/public/blob/main/empty.txt")


def test_a_file_tells_its_digest_and_who_changed_it_last(filled: Place) -> None:
    page = words(filled.visitor().page("/lab/public/blob/main/secret.txt"))

    assert "SHA-256" in page
    assert "Add files by admin" in page
    assert "24 bytes" in page or "bytes" in page


@pytest.mark.parametrize(
    "path",
    [
        "tree/main/none",
        "tree/none",
        "blob/main/none.txt",
        "blob/main/docs",
        "tree/main/secret.txt",
        "raw/main/none",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(filled: Place, path: str) -> None:
    reply = filled.visitor().get(f"/lab/public/{path}")

    assert reply.status_code == 404


def test_downloads_are_for_who_is_logged_in_and_may_read(filled: Place) -> None:
    reply = filled.visitor("reader").get("/lab/private/raw/main/secret.txt?download=1")

    assert reply.content.endswith(b"private")
    assert reply.headers["content-disposition"].startswith("attachment")
    assert filled.visitor().get("/lab/private/raw/main/secret.txt").status_code == 404


def test_branches_and_tags_are_offered_and_work(filled: Place) -> None:
    admin = filled.lab.tokens["admin"]
    filled.client.post("/api/models/lab/public/branch/a%2Fb", token=admin, json={})
    filled.client.post("/api/models/lab/public/tag/main", token=admin, json={"tag": "v1"})
    visitor = filled.visitor()

    links = [each.attributes["href"] for each in outline(visitor.page("/lab/public/tree/main")).all("a")]

    for link in ("/lab/public/tree/a%2Fb", "/lab/public/tree/v1"):
        assert link in links
        assert "secret.txt" in visitor.page(link)
