import socket
from pathlib import Path

import pytest

from ayni.server.listening import (
    AddressInUseError,
    BadUrlError,
    CertificateError,
    Listening,
    NoAddressForLinksError,
    PublicBindError,
    is_loopback,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_nothing_more(host: str) -> None:
    Listening(host=host).check()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "", "::", "192.0.2.7", "hub.example.org", "127.0.0.1.example.org"]
)
def test_an_address_that_others_reach_is_refused_without_tls(host: str) -> None:
    with pytest.raises(PublicBindError, match="--tls-cert"):
        Listening(host=host, url="https://hub.example.org").check()

    Listening(host=host, url="https://hub.example.org", is_behind_proxy=True).check()


def test_behind_a_proxy_links_need_an_address() -> None:
    with pytest.raises(NoAddressForLinksError):
        Listening(is_behind_proxy=True).check()


@pytest.mark.parametrize(
    "url", ["hub.example.org", "ftp://hub", "https://", "https://hub/path", "http://a b"]
)
def test_links_begin_with_an_address_and_nothing_else(url: str) -> None:
    with pytest.raises(BadUrlError):
        Listening(url=url).check()


def test_certificate_and_key_come_together_and_are_read_before_anything_is_opened(tmp_path: Path) -> None:
    garbage = tmp_path / "chain.pem"
    garbage.write_text("no certificate")

    with pytest.raises(CertificateError, match="together"):
        Listening(certificate=garbage).check()
    with pytest.raises(CertificateError, match=r"chain\.pem"):
        Listening(certificate=garbage, private_key=garbage).check()
    with pytest.raises(CertificateError, match="No such file"):
        Listening(certificate=tmp_path / "none", private_key=garbage).check()


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(AddressInUseError, match=f"--port {port + 1}"):
            Listening(port=port).bind()


def test_an_address_of_another_machine_is_told_as_such() -> None:
    with pytest.raises(AddressInUseError, match="no such address"):
        Listening(host="192.0.2.7").bind()


def test_links_follow_the_port_that_was_found_unless_they_are_given() -> None:
    with Listening(port=0).bind() as bound:
        port = bound.getsockname()[1]

        assert Listening(port=0).address_for_links(bound) == f"http://127.0.0.1:{port}"
        assert Listening(host="::1").address_for_links(bound) == f"http://[::1]:{port}"
        given = Listening(url="https://hub.example.org/")
        assert given.address_for_links(bound) == "https://hub.example.org"


def test_a_name_is_not_taken_for_this_machine_because_it_begins_like_it() -> None:
    assert not is_loopback("localhost.example.org")
