import gzip
import re
from datetime import UTC, datetime

import pytest

from ayni.server.web.rendering import day, iso, plural, static_address, static_files


def test_what_pages_need_beside_themselves_is_small() -> None:
    sizes = {name: len(each.compressed) for name, each in static_files().items()}

    assert sizes["site.css"] < 8_000
    assert sizes["htmx.min.js"] < 20_000
    assert all(gzip.decompress(each.compressed) == each.content for each in static_files().values())


def test_the_style_sheet_has_the_colours_and_the_figures_of_the_reports() -> None:
    css = static_files()["site.css"].content.decode()

    assert "{%" not in css
    assert css.count("--accent:") == 2
    assert ".plot .front" in css or "front {" in css
    assert not re.search(r"url\(|@import", css)


def _colours(css: str) -> tuple[dict[str, str], dict[str, str]]:
    """The colours by name, for light and for dark pages."""
    light, dark = {}, {}
    for number, block in enumerate(re.findall(r":root \{([^}]*)\}", css)):
        found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        (dark if number % 2 else light).update(found)
    return light, dark


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [
    *((text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "card", "tint")),
    ("paper", "accent"),
    ("ink", "accent-tint"),
    ("ink", "good-tint"),
    ("bad", "bad-tint"),
    ("good", "good-tint"),
]


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_stands_out_from_its_ground_as_wcag_asks(text: str, ground: str, is_dark: bool) -> None:
    colours = _colours(static_files()["site.css"].content.decode())[is_dark]

    low, high = sorted((_luminance(colours[text]), _luminance(colours[ground])))

    # Success criterion 1.4.3, level AA.
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_address_of_a_file_changes_with_its_content() -> None:
    assert static_address("site.css") == f"/static/site.css?v={static_files()['site.css'].version}"


def test_dates_and_numbers_are_written_for_people_and_for_machines() -> None:
    when = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)

    assert day(when) == "6 May 2026"
    assert iso(when) == "2026-05-06T07:08:09Z"
    assert [plural(number, "file") for number in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
