import random
import string
import time

import pytest

from ayni.hub.secret_scan import SecretInCommitError, check_secrets, entropy_bits, find_secrets

RNG = random.Random(3)
ALPHANUMERIC = string.ascii_letters + string.digits


def drawn(count: int, letters: str = ALPHANUMERIC) -> str:
    return "".join(RNG.choices(letters, k=count))


# Put together here, so that no scanner takes this file for one with secrets.
SECRETS = {
    "token of the Hugging Face Hub": "hf" + "_" + drawn(34),
    "token of GitHub": "ghp" + "_" + drawn(36),
    "token of GitLab": "glpat" + "-" + drawn(20),
    "access key of AWS": "AK" + "IA" + drawn(16, string.ascii_uppercase + "234567"),
    "key of Google": "AI" + "za" + drawn(35),
    "token of Slack": "xoxb" + "-" + drawn(30),
    "key of Stripe": "sk" + "_live_" + drawn(24),
    "key of OpenAI": "sk-" + "proj-" + drawn(30) + "T3Blbk" + "FJ" + drawn(30),
    "key of Anthropic": "sk-" + "ant-api03-" + drawn(93),
    "token of npm": "npm" + "_" + drawn(36),
    "token of PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + drawn(70),
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + drawn(64) + "\n",
}


@pytest.mark.parametrize("what", SECRETS)
def test_each_form_is_found_with_its_line_and_never_shown_whole(what: str) -> None:
    content = f"first\nkey = '{SECRETS[what]}'\nlast\n".encode()

    [secret] = find_secrets("a/b.py", content)

    assert (secret.what, secret.line, secret.path) == (what, 2, "a/b.py")
    with pytest.raises(SecretInCommitError, match=r"a/b\.py line 2") as refused:
        check_secrets({"a/b.py": content})
    assert SECRETS[what] not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "x" * 37,
        "hf_hub_download(repo_id='me/digits')",
        "-----BEGIN PUBLIC KEY-----\n" + drawn(64),
        "-----BEGIN PRIVATE KEY-----\n...\n",
        "AKIA is the prefix of keys",
        drawn(64, "0123456789abcdef"),
        "sk-learn and risk-averse",
    ],
)
def test_prose_placeholders_and_digests_are_no_secrets(text: str) -> None:
    assert find_secrets("README.md", text.encode()) == []


def test_binary_files_are_not_searched() -> None:
    assert find_secrets("m.bin", b"\x00" + SECRETS["token of npm"].encode()) == []


def test_entropy_of_known_texts() -> None:
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abcd") == 2
    assert entropy_bits("aabb") == 1


def test_hostile_text_takes_no_longer_than_plain_text() -> None:
    hostile = b"-----BEGIN " + b"A " * 500_000
    started = time.perf_counter()

    assert find_secrets("x", hostile) == []

    assert time.perf_counter() - started < 5
