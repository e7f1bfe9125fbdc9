"""docs/hub-pages.md names every page, and says what is needed for it."""

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("markdown_it")

from ayni.server.web.rendering import static_files
from ayni.server.web.table import PAGE_ROUTES

PAGE = (Path(__file__).parents[2] / "docs" / "hub-pages.md").read_text()
ADDRESSES = {
    address: row.split("|")[3]
    for row in PAGE.splitlines()
    if row.startswith("| `")
    for address in re.findall(r"`([^`]+)`", row.split("|")[1])
}


@pytest.mark.parametrize("route", PAGE_ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_every_page_is_named_with_what_it_needs(route: object) -> None:
    pattern, action = route.pattern, route.action  # type: ignore[attr-defined]
    address = pattern.replace("/{prefix}{page}", "REPO")
    # Forms are sent to addresses below their page.
    known = [each for each in ADDRESSES if address == each or address.startswith(f"{each}/")]

    assert known, pattern
    is_free = action in ("public", "repository.list")
    assert is_free or any(f"`{action}`" in ADDRESSES[each] or "REPO" in each for each in known)
    if route.method == "GET" and not is_free:  # type: ignore[attr-defined]
        assert any(f"`{action}`" in ADDRESSES[each] for each in known), (pattern, action)


def test_the_sizes_on_the_page_are_those_of_the_files() -> None:
    files = static_files()
    together = sum(len(files[name].compressed) for name in ("site.css", "htmx.min.js"))

    assert f"script {round(together / 1000)} kB once" in " ".join(PAGE.split())
