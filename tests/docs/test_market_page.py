"""docs/market.md says what the code does."""

import re
from pathlib import Path
from typing import get_args

from ayni.market.cloud_catalogues import MAX_AGE_DAYS, shipped_catalogue, shipped_clouds
from ayni.market.cloud_offers import CloudTerms
from ayni.market.karma import LARGEST_WEIGHT
from ayni.market.offers import LARGEST_ASK
from ayni.market.rounds import RefusalCode

PAGE = (Path(__file__).parent.parent.parent / "docs" / "market.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the lines of the table that begins with `header`."""
    lines = PAGE.partition(header)[2].splitlines()[2:]
    end = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[:end]]


def test_every_catalogue_is_on_the_page_with_the_date_of_its_prices() -> None:
    table = {cells[0]: cells[1] for cells in rows("| catalogue | prices | note |")}

    assert tuple(table) == shipped_clouds()
    for cloud, said in table.items():
        catalogue = shipped_catalogue(cloud)
        if catalogue.dated is None:
            assert said == "none"
        elif catalogue.is_marked_stale:
            assert said == f"about {catalogue.dated.year}"
        else:
            assert said.startswith(f"{catalogue.dated:%Y-%m}, on demand")
            regions = {price.region for price in catalogue.prices}
            assert f"{len(regions)} regions" in said


def test_every_reason_of_a_refusal_is_on_the_page() -> None:
    said = [cells[0] for cells in rows("| it says | what to do |")]

    assert sorted(said) == sorted(get_args(RefusalCode))


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    terms = CloudTerms(credits_per_dollar=1.0)

    assert f"older than {MAX_AGE_DAYS} days" in PAGE
    assert f"above {LARGEST_ASK / 1e6:,.0f} credits an hour" in PAGE
    assert f"assumed: {terms.reliability:g}, and {terms.spot_reliability:g} for spot" in PAGE
    assert f"weight of a member (1/{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g})" in PAGE
    assert f"{len(shipped_catalogue('alibaba').machines)} machine types" in PAGE


def test_the_files_that_the_page_names_are_there() -> None:
    root = Path(__file__).parent.parent.parent

    assert [name for name in re.findall(r"`(src/[\w/.]+)`", PAGE) if not (root / name).exists()] == []
