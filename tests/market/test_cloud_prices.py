"""A price list is taken whole or not at all, and no price in it was made up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.cloud_prices import CloudMachine, PriceFileError, parse_prices, read_price_file

HEADER = (
    "region,instance_type,vcpus,mem_gib,gpu_model,gpu_count,gpu_mem_gib_each,usd_per_hour,usd_per_hour_spot\n"
)
LINE = "here,big,8,61.0,V100,1,16,3.06,0.918\n"
KNOWN = {
    "big": CloudMachine(
        instance_type="big",
        num_cores=8,
        memory_bytes=61 * 2**30,
        accelerator="V100",
        num_accelerators=1,
        accelerator_memory_bytes=16 * 2**30,
    )
}


def test_a_line_gives_a_machine_and_a_price_for_each_purchase() -> None:
    found = parse_prices(HEADER + LINE, name="prices.csv")

    assert found.machines == KNOWN
    assert {price.purchase: price.microdollars_per_hour for price in found.prices} == {
        "on-demand": 3_060_000,
        "spot": 918_000,
    }


def test_an_empty_spot_price_is_no_price() -> None:
    found = parse_prices(HEADER + LINE.replace("0.918", ""), name="prices.csv")

    assert [price.purchase for price in found.prices] == ["on-demand"]


def test_a_price_below_a_micro_dollar_is_rounded_up_so_that_nothing_is_sold_below_cost() -> None:
    found = parse_prices(HEADER + LINE.replace("3.06", "0.0000012"), name="prices.csv")

    assert found.prices[0].microdollars_per_hour == 2


def test_a_known_machine_may_stand_by_its_name_alone() -> None:
    text = "region,instance_type,usd_per_hour\nhere,big,3.06\n"

    found = parse_prices(text, name="mine.csv", known=KNOWN)

    assert found.prices[0].machine == KNOWN["big"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE.replace("3.06", ""), r"line 3: big in here has no price\..*never invented"),
        (LINE.replace("3.06", "0"), "above 0"),
        (LINE.replace("3.06", "-1"), "above 0"),
        (LINE.replace("3.06", "nan"), "above 0"),
        (LINE.replace("3.06", "inf"), "above 0"),
        (LINE.replace("3.06", "about 3"), "above 0"),
        (LINE.replace("3.06", "2233.8"), "at most 1,000"),
        (LINE.replace("0.918", "-0.1"), "usd_per_hour_spot is '-0.1'"),
        (LINE.replace(",8,", ",,"), "what big is, is not known"),
        (LINE.replace(",8,", ",0,"), "vcpus is '0'"),
        (LINE.replace(",8,", ",8.5,"), "whole number"),
        (LINE.replace("V100,1,", "V100,-1,"), "gpu_count is '-1'"),
        (LINE.replace("here", ""), "region is empty"),
        (LINE.replace("big", ""), "instance_type is empty"),
        (LINE.replace("big", "other"), "stands twice"),
        (LINE.replace("big,8,", "other,16,").replace("here", "there"), "another machine here than before"),
        (LINE.replace("\n", ",,1\n"), "more cells than"),
        ('here,"big', "is not CSV"),
    ],
)
def test_a_line_that_is_no_price_refuses_the_whole_list_with_its_number(line: str, words: str) -> None:
    first = LINE.replace("big", "other")

    with pytest.raises(PriceFileError, match=words) as caught:
        parse_prices(HEADER + first + line, name="prices.csv")

    assert caught.value.line == 3
    assert caught.value.exit_code == 2
    assert "Nothing of the list was taken." in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the column instance_type is missing; found none"),
        ("region,price\nhere,3\n", "the column instance_type is missing"),
        (HEADER, "has no lines"),
        (HEADER + "\0", "zero bytes"),
    ],
)
def test_a_text_that_is_no_list_is_refused(text: str, words: str) -> None:
    with pytest.raises(PriceFileError, match=words):
        parse_prices(text, name="prices.csv")


@given(st.text(max_size=200))
def test_any_text_is_a_list_or_an_error_of_ours(text: str) -> None:
    try:
        found = parse_prices(HEADER + text, name="any.csv")
    except PriceFileError:
        return
    assert all(price.microdollars_per_hour > 0 for price in found.prices)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"caf\xe9")

    for name, words in (("none.csv", "No such file"), ("", "directory"), ("latin.csv", "UTF-8")):
        with pytest.raises(PriceFileError, match=words):
            read_price_file(tmp_path / name)


def test_a_byte_order_mark_of_a_spreadsheet_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(HEADER + LINE, encoding="utf-8-sig")

    assert len(read_price_file(tmp_path / "prices.csv").prices) == 2
