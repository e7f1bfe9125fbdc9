import pytest

from ayni.hub.licences import (
    KNOWN_LICENCES,
    LicenceConflictError,
    MissingLicenceError,
    UnknownLicenceError,
    allowed_model_licences,
    check_licence,
    check_licence_is_given,
)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("cc-by-sa-4.0", "CC BY-SA 3.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("gpl-3.0", "cc-by-sa-4.0"),
        ("mit", "CC BY 4.0"),
        ("apache-2.0", "PSF-2.0"),
        ("mit", None),
        ("mit", "unknown"),
        ("mit", "terms of the museum"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0"),
        ("mit", "odbl"),
    ],
)
def test_licences_that_go_together_are_accepted(model: str, data: str | None) -> None:
    check_licence(model, data)


@pytest.mark.parametrize(
    ("model", "data", "remedy"),
    [
        ("mit", "CC BY-SA 3.0", "cc-by-sa-3.0, cc-by-sa-4.0"),
        ("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-sa-4.0, gpl-3.0"),
        ("gpl-3.0", "cc-by-sa-3.0", "cc-by-sa-3.0"),
        ("other", "cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("cc-by-sa-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
        ("apache-2.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("mit", "gpl-3.0", "agpl-3.0"),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", "train on other data"),
    ],
)
def test_a_contradiction_names_what_would_go(model: str, data: str, remedy: str) -> None:
    with pytest.raises(LicenceConflictError, match=remedy):
        check_licence(model, data)


def test_an_unknown_licence_of_the_model_names_the_nearest() -> None:
    with pytest.raises(UnknownLicenceError, match=r"Did you mean cc-by-sa-4\.0"):
        check_licence("cc-by-sa4.0", None)


def test_every_allowed_licence_has_an_identifier_and_is_accepted() -> None:
    for data in KNOWN_LICENCES:
        for model in allowed_model_licences(data) or []:
            assert model in KNOWN_LICENCES
            check_licence(model, data)


@pytest.mark.parametrize(
    ("data", "remedy"),
    [("CC BY-SA 3.0", "one of: cc-by-sa-3.0, cc-by-sa-4.0"), ("cc-by-nd-4.0", "train on other data")],
)
def test_data_that_bind_the_model_need_a_licence(data: str, remedy: str) -> None:
    with pytest.raises(MissingLicenceError, match=remedy):
        check_licence_is_given(None, data)

    check_licence_is_given("cc-by-sa-4.0", data)


@pytest.mark.parametrize("data", [None, "mit", "cc-by-4.0", "terms of the museum"])
def test_data_that_do_not_bind_the_model_need_none(data: str | None) -> None:
    check_licence_is_given(None, data)
