"""Secrets that were committed by mistake: tokens and private keys, known by their form.

A token is refused where its form leaves no doubt: a prefix of its own and as many characters as its maker
gives it. A match is never shown whole, as errors are logged.

Not covered: passwords without a form, secrets in binary files, and secrets of earlier commits.

Source: the forms that GitHub, GitLab, AWS, Google, Slack, Stripe, OpenAI, Anthropic, npm, PyPI and Hugging
Face publish for secret scanning.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ayni.errors import UserError

MAX_SCANNED_BYTES = 10 << 20
# Bits for each character; words and placeholders such as xxxx lie below, random tokens far above.
MIN_ENTROPY_BITS = 2.5

# Name, what must stand there (found fast), and the form. Counts are bounded: no text takes long.
_FORMS: tuple[tuple[str, tuple[bytes, ...], bytes], ...] = (
    ("token of the Hugging Face Hub", (b"hf_",), rb"\bhf_[A-Za-z0-9]{34,60}\b"),
    (
        "token of GitHub",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{82})\b",
    ),
    ("token of GitLab", (b"glpat-",), rb"\bglpat-[A-Za-z0-9_-]{20,64}"),
    ("access key of AWS", (b"AKIA", b"ASIA"), rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("key of Google", (b"AIza",), rb"\bAIza[A-Za-z0-9_-]{35}"),
    ("token of Slack", (b"xox",), rb"\bxox[abposr]-[A-Za-z0-9-]{20,100}"),
    ("key of Stripe", (b"k_live_",), rb"\b[sr]k_live_[A-Za-z0-9]{24,120}\b"),
    ("key of OpenAI", (b"T3BlbkFJ",), rb"\bsk-[A-Za-z0-9_-]{20,100}T3BlbkFJ[A-Za-z0-9_-]{20,100}"),
    ("key of Anthropic", (b"sk-ant-",), rb"\bsk-ant-[a-z0-9]{1,20}-[A-Za-z0-9_-]{80,150}"),
    ("token of npm", (b"npm_",), rb"\bnpm_[A-Za-z0-9]{36}\b"),
    ("token of PyPI", (b"pypi-AgEIcHlwaS5vcmc",), rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,300}"),
    (
        "private key",
        (b"PRIVATE KEY",),
        rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----\s{1,4}[A-Za-z0-9+/=:,\-\s]{60}",
    ),
)
_COMPILED = tuple((what, literals, re.compile(form)) for what, literals, form in _FORMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where something stands that looks like a secret, and its first characters."""

    path: str
    line: int
    what: str
    start: str


class SecretInCommitError(UserError):
    """A commit holds what looks like a secret."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self.secrets = tuple(secrets)
        shown = "; ".join(
            f"{each.path} line {each.line}: {each.what} ({each.start}...)" for each in self.secrets[:5]
        )
        more = f"; and {len(self.secrets) - 5} more" if len(self.secrets) > 5 else ""
        super().__init__(
            f"Nothing was committed, it would publish secrets: {shown}{more}. Remove them, and revoke them "
            "where they were shown to anybody."
        )


def find_secrets(path: str, content: bytes) -> list[Secret]:
    """What looks like a secret in a text file; the first of each kind. Binary files have none."""
    if b"\x00" in content[:8192]:
        return []
    searched = content[:MAX_SCANNED_BYTES]
    found = []
    for what, literals, form in _COMPILED:
        if not any(literal in searched for literal in literals):
            continue
        for match in form.finditer(searched):
            text = match[0].decode(errors="replace")
            if entropy_bits(text) >= MIN_ENTROPY_BITS:
                line = searched.count(b"\n", 0, match.start()) + 1
                found.append(Secret(path=path, line=line, what=what, start=text[:6]))
                break
    return found


def check_secrets(files: Mapping[str, bytes]) -> None:
    """Refuse text files of a commit in which secrets stand.

    Raises:
        SecretInCommitError: where, and of what kind.
    """
    found = [secret for path, content in files.items() for secret in find_secrets(path, content)]
    if found:
        raise SecretInCommitError(found)


def entropy_bits(text: str) -> float:
    """Bits for each character: H = -sum p log2 p over the characters of the text."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
