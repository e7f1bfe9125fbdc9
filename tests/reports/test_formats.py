import pytest

from ayni.reports import formats


def plain(text: str) -> str:
    return text.replace(formats.NO_BREAK_SPACE, " ").replace(formats.DASH, "-").replace(formats.MINUS, "-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.joules(1234.5, 540, 3100), "1.2 kJ (0.54-3.1)"),
        (formats.joules(0.0), "0 J"),
        (formats.grams(0.0731), "73 mg"),
        (formats.stored_bytes(66_816), "66.8 kB"),
        (formats.stored_bytes(12), "12 B"),
        (formats.seconds(0.00008), "80.0 \N{MICRO SIGN}s"),
        (formats.seconds(59.99), "60.0 s"),
        (formats.seconds(245), "4 min 05 s"),
        (formats.seconds(7800), "2 h 10 min"),
        (formats.credits(410), "0.000410 credits"),
        (formats.credits(12_500_000), "12.50 credits"),
        (formats.credits(0), "0 credits"),
        (formats.joules(0.48, 0.14, 1.6, like=2.7), "0.48 J (0.14-1.6)"),
        (formats.seconds(0.239, like=18.0), "0.239 s"),
        (formats.metric(0.979, "accuracy", 0.971, 0.986), "97.9 % (97.1-98.6)"),
        (formats.metric(2.31449, "bits_per_character"), "2.314"),
        (formats.metric_change(0.004, "accuracy"), "+0.4 pt"),
        (formats.metric_change(-0.00001, "accuracy"), "0 pt"),
        (formats.share(24, 100), "24 %"),
        (formats.share(1, 10_000), "less than 0.1 %"),
        (formats.count(61440), "61,440"),
        (formats.digits(-0.0123), "-0.0123"),
        (formats.digits(0.9996, 3), "1.00"),
        (formats.moment("2026-11-22T02:40:11+00:00"), "22 Nov 2026, 02:40 UTC"),
    ],
)
def test_numbers_are_written_as_people_read_them(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        formats.joules(None),
        formats.grams(None, 1, 2),
        formats.stored_bytes(None),
        formats.seconds(None),
        formats.credits(None),
        formats.count(None),
        formats.metric(None, "accuracy"),
        formats.metric(float("nan"), "accuracy"),
        formats.metric_change(None, "accuracy"),
        formats.share(None, 5),
        formats.share(5, None),
        formats.share(5, 0),
        formats.moment(None),
    ],
)
def test_what_is_unknown_is_said_to_be_unknown_and_never_zero(text: str) -> None:
    assert text == formats.UNKNOWN


def test_the_unit_of_a_column_is_that_of_its_largest_known_value() -> None:
    assert formats.largest([{"x": 3.0}, {"x": None}, {"x": 7.0}], "x") == 7.0
    assert formats.largest([{"x": None}], "x") is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(832, 66.8, "12x smaller"), (1, 2, "2.0x larger"), (1, 1.01, "about the same"), (None, 3, None)],
)
def test_a_value_is_compared_with_the_one_before(
    before: float | None, after: float | None, expected: str | None
) -> None:
    text = formats.times(before, after, less="smaller", more="larger")

    assert text == expected if text is None else text.replace("\N{MULTIPLICATION SIGN}", "x") == expected


def test_a_value_far_below_its_column_gets_a_smaller_unit() -> None:
    written = [plain(formats.joules(value, like=1500)) for value in (54, 0.21, 0.0021, 0)]

    assert written == ["0.054 kJ", "0.21 J", "2.1 mJ", "0 kJ"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (" ", "\u2423"),
        ("\n", "\u21b5"),
        ("\t", "\u21e5"),
        ("\x00", "\\x00"),
        (" the", "\u2423the"),
        ("top left", "top left"),
        ("  ", "\u2423\u2423"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_of_a_name_gets_a_mark(name: str, shown: str) -> None:
    assert formats.visible(name) == shown


def test_a_signed_number_has_its_sign() -> None:
    assert [formats.signed(value) for value in (0.517, -0.031, 0.0)] == [
        "+0.52",
        f"{formats.MINUS}0.031",
        "0",
    ]


def test_numbers_of_inferences_have_two_digits_and_words_for_millions() -> None:
    assert [formats.inferences(value) for value in (0, 410, 31_234, 999_999, 1_234_567, 2 * 10**9)] == [
        "0",
        "410",
        "31,000",
        "1,000,000",
        f"1.2{formats.NO_BREAK_SPACE}million",
        f"2.0{formats.NO_BREAK_SPACE}billion",
    ]
    assert [formats.inferences(None), formats.inferences("never")] == ["unknown", "never"]


def test_an_interval_of_inferences_may_end_with_never_and_never_alone_needs_none() -> None:
    assert formats.inferences_until(100, 200, "never") == "200 (100 to never)"
    assert formats.inferences_until("never", "never", "never") == "never"
    assert formats.inferences_until(None, None, None) == "unknown"


def test_a_loss_has_no_sign_and_a_gain_has_a_minus() -> None:
    assert formats.metric_lost(0.0054, "accuracy") == f"0.54{formats.NO_BREAK_SPACE}pt"
    assert formats.metric_lost(-0.02, "accuracy") == f"{formats.MINUS}2.0{formats.NO_BREAK_SPACE}pt"
    assert formats.metric_lost(0.31, "perplexity") == "0.31"
