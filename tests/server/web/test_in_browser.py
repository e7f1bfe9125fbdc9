"""Pages in a real browser: keyboard, script on and off, light and dark, wide and narrow."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import inline, ndjson, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]
sync_api = pytest.importorskip("playwright.sync_api")
httpx = pytest.importorskip("httpx")
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CARD = b"""---
license: mit
---
# A card

<img src=x onerror="document.title='run'"> <script>document.title='run'</script>

![near](near.png) ![far](http://127.0.0.1:9/far.png)

| a very long head | another very long head | and one more of them | and the last of all |
|---|---|---|---|
| word | word | word | word |
"""
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f8ffbf1e00057f027f"
    "a4b1d9c40000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def hub_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("hub")) as hub:
        with httpx.Client(base_url=hub.base_url, headers={"Authorization": "Bearer hf_ada"}) as client:
            for name in ("digits", "letters", "words-and-more-words"):
                client.post("/api/repos/create", json={"name": name}).raise_for_status()
            lines = [inline("README.md", CARD), inline("near.png", PICTURE), inline("a.txt", b"text")]
            client.post(
                "/api/models/ada/digits/commit/main", content=ndjson("Fill", *lines)
            ).raise_for_status()
            said = {"title": "A question", "description": "Why", "question": True}
            client.post("/api/models/ada/digits/discussions", content=json.dumps(said)).raise_for_status()
        yield hub.base_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Seen:
    """A page in the browser; everything that went wrong in it, and what it asked for."""

    def __init__(self, browser: Any, url: str, **given: Any) -> None:
        self.url = url
        self.context = browser.new_context(**given)
        self.page = self.context.new_page()
        self.mistakes: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: said.type == "error" and self.mistakes.append(said.text))

    def go(self, path: str) -> Any:
        self.page.goto(self.url + path)
        return self.page

    def log_in(self) -> None:
        self.go("/login")
        self.page.fill("#token", "hf_ada")
        self.page.click("main button")


@pytest.fixture
def open_page(browser: Any, hub_url: str) -> Iterator[Any]:
    opened: list[Seen] = []

    def start(**given: Any) -> Seen:
        opened.append(Seen(browser, hub_url, **given))
        return opened[-1]

    yield start
    for each in opened:
        each.context.close()


def test_a_hostile_card_runs_nothing_and_asks_nobody_elsewhere(open_page: Any, hub_url: str) -> None:
    seen = open_page()

    page = seen.go("/ada/digits")

    assert page.title().startswith("ada/digits")
    assert all(address.startswith(hub_url) for address in seen.asked)
    assert page.locator("img[alt=near]").evaluate("picture => picture.naturalWidth") == 1
    assert page.locator("img[alt=far]").count() == 0
    # Of the picture `x`, which is not there; nothing else went wrong.
    assert all("404" in each for each in seen.mistakes)


def test_the_policy_stops_a_script_that_would_slip_in(open_page: Any) -> None:
    seen = open_page()
    page = seen.go("/ada/digits")

    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=document.title=1>')")
    page.evaluate(
        """() => {
            const one = document.createElement('script')
            one.textContent = 'document.title = 2'
            document.body.append(one)
        }"""
    )
    page.wait_for_timeout(200)

    assert page.title() not in ("1", "2")
    assert any("Content Security Policy" in each for each in seen.mistakes)


def test_pages_are_used_by_keyboard_alone(open_page: Any) -> None:
    page = open_page().go("/models")

    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.textContent")
    box = page.locator(".skip").bounding_box()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.id")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")

    assert skip == "Skip to the content"
    assert box["y"] >= 0
    assert first == "search"
    assert outline == "solid"


def test_search_answers_while_typing_and_can_be_gone_back_from(open_page: Any) -> None:
    seen = open_page()
    page = seen.go("/models")

    page.locator("#search").press_sequentially("letters")
    page.wait_for_url("**search=letters*")
    sync_api.expect(page.locator("#results li")).to_have_count(1)
    found = page.locator("#results h3").inner_text()
    page.go_back()
    sync_api.expect(page.locator("#results li")).to_have_count(3)

    assert "letters" in found
    assert page.evaluate("document.activeElement.tagName") in ("INPUT", "BODY")
    assert seen.mistakes == []


@pytest.mark.parametrize("with_script", [True, False])
def test_logging_in_searching_and_commenting_work_with_and_without_script(
    open_page: Any, with_script: bool
) -> None:
    seen = open_page(java_script_enabled=with_script)
    seen.log_in()
    page = seen.go("/models")
    page.fill("#search", "digits")
    page.click("form.filters button")
    page.wait_for_url("**search=digits*")
    page.click("text=ada/digits")
    page.click("nav.tabs >> text=Discussions")
    page.click("text=A question")

    page.fill("#text", f"Said with script {with_script}")
    page.click("form.wide button:has-text('Comment')")
    page.wait_for_selector(f".thread >> text=Said with script {with_script}")

    assert page.locator("#text").input_value() == ""
    page.click("text=Log out")
    page.wait_for_selector("text=Log in")
    assert seen.mistakes == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/ada/digits",
        "/ada/digits/tree/main",
        "/ada/digits/blob/main/a.txt",
        "/ada/digits/commits/main",
        "/ada/digits/lineage",
        "/ada/digits/discussions/1",
        "/leaderboard",
        "/login",
        "/ada",
    ],
)
def test_no_page_is_wider_than_its_window(open_page: Any, path: str, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800}).go(path)

    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_colours_follow_what_the_reader_prefers(open_page: Any, scheme: str, is_dark: bool) -> None:
    page = open_page(color_scheme=scheme).go("/ada/digits")

    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    parts = [int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (sum(parts) < 200) is is_dark


def test_a_text_twice_as_large_still_fits(open_page: Any) -> None:
    page = open_page(viewport={"width": 640, "height": 800}).go("/ada/digits")

    page.evaluate("document.documentElement.style.fontSize = '200%'")

    assert page.evaluate("document.documentElement.scrollWidth") <= 640


def test_what_a_screen_reader_is_told_of_a_list(open_page: Any) -> None:
    page = open_page().go("/models")

    told = page.locator("body").aria_snapshot()

    for line in (
        'heading "Models" [level=1]',
        'navigation "Hub"',
        'searchbox "Name"',
        'combobox "Licence"',
        "main:",
    ):
        assert line in told, line


def test_printing_leaves_the_navigation_out(open_page: Any, tmp_path: Path) -> None:
    page = open_page().go("/ada/digits")

    page.emulate_media(media="print")

    assert not page.locator("header.site").is_visible()
    assert page.locator("article").is_visible()


@pytest.mark.parametrize("with_script", [True, False])
def test_a_repository_is_made_private_moved_and_deleted(
    open_page: Any, hub_url: str, tmp_path: Path, with_script: bool
) -> None:
    name = f"passing-{with_script}".lower()
    with httpx.Client(base_url=hub_url, headers={"Authorization": "Bearer hf_ada"}) as client:
        client.post("/api/repos/create", json={"name": name}).raise_for_status()
    seen = open_page(java_script_enabled=with_script)
    seen.log_in()
    page = seen.go(f"/ada/{name}")

    page.click("nav.tabs >> text=Settings")
    page.select_option("#visibility", "private")
    page.select_option("#gated", "auto")
    page.click("button:has-text('Change')")
    page.wait_for_selector("text=The settings were changed.")
    page.screenshot(path=str(tmp_path / "settings.png"), full_page=True)
    page.fill("#to", f"ada/{name}-renamed")
    page.click("button:has-text('Move')")
    page.wait_for_selector("text=The old name leads here.")
    page.fill("#typed", name)
    page.click("button:has-text('Delete')")
    page.wait_for_selector("text=Nothing was deleted")
    assert page.locator("#typed").get_attribute("aria-invalid") == "true"
    page.fill("#typed", f"ada/{name}-renamed")
    page.click("button:has-text('Delete')")
    page.wait_for_url("**/ada")

    assert page.locator(f"text={name}").count() == 0
    assert all("400" in each for each in seen.mistakes)
    assert (tmp_path / "settings.png").stat().st_size > 1000
