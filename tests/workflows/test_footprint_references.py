from pathlib import Path

import pytest

from ayni.settings import Settings, read_settings
from ayni.workflows.footprint_references import FootprintNotFoundError, find_footprint, kept_folders


@pytest.fixture
def settings(home: Path) -> Settings:
    for name in ("runs/20260301-120000-000-digits", "runs/20260302-120000-000-digits", "runs/.new-1"):
        (home / name).mkdir(parents=True)
    for name in ("footprint/20260303-120000-nightly", "footprint/.open"):
        (home / name).mkdir(parents=True)
    return read_settings()


def test_runs_and_measurements_are_found_by_id_or_its_beginning(settings: Settings) -> None:
    assert find_footprint("20260301-120000-000-digits", settings).parent.name == "runs"
    assert find_footprint("20260303", settings) == settings.home / "footprint" / "20260303-120000-nightly"


def test_the_latest_is_the_newest_of_both(settings: Settings) -> None:
    assert find_footprint("latest", settings).name == "20260303-120000-nightly"


def test_a_path_is_taken_as_it_is(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    assert find_footprint(str(tmp_path / "elsewhere"), settings) == tmp_path / "elsewhere"


def test_what_begins_with_a_dot_is_no_footprint(settings: Settings) -> None:
    assert [path.name for path in kept_folders(settings)] == [
        "20260301-120000-000-digits",
        "20260302-120000-000-digits",
        "20260303-120000-nightly",
    ]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("2026030", "3 runs and measurements begin with '2026030'"),
        ("20270101", "No run or measurement is called '20270101'. The newest are: 20260303-120000-nightly"),
        ("", "No run or measurement is called ''"),
    ],
)
def test_what_is_not_there_or_not_one_is_an_error_that_helps(
    settings: Settings, reference: str, message: str
) -> None:
    with pytest.raises(FootprintNotFoundError, match=message):
        find_footprint(reference, settings)


def test_an_empty_home_says_that_it_is_empty(home: Path) -> None:
    with pytest.raises(FootprintNotFoundError, match="there are none in this home yet"):
        find_footprint("latest", read_settings())
