"""Where a token goes."""

from pathlib import Path

import pytest

from ayni.settings import read_settings
from ayni.wiring.hub import WhoseTokensError, _token_for, tokens_path


@pytest.mark.parametrize(
    ("hub_url", "asked", "is_sent"),
    [
        ("https://mine.example.org", "https://mine.example.org/", True),
        ("https://mine.example.org", "https://other.example.org", False),
        ("https://mine.example.org", "https://mine.example.org.evil.org", False),
        ("", "https://any.example.org", True),
    ],
)
def test_a_token_goes_to_the_hub_that_it_is_for(
    hub_url: str, asked: str, is_sent: bool, tmp_path: Path
) -> None:
    settings = read_settings({"AYNI_HUB_URL": hub_url, "AYNI_HUB_TOKEN": "hf_mine"}, home=tmp_path)

    assert _token_for(asked, settings) == ("hf_mine" if is_sent else None)


def test_in_process_a_user_must_be_named(tmp_path: Path) -> None:
    assert tokens_path("ada", endpoint="local", home=tmp_path) == "/users/ada/tokens"
    with pytest.raises(WhoseTokensError):
        tokens_path(None, endpoint="local", home=tmp_path)
