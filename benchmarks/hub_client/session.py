"""What the checks of one walk share: the client in each member's name, names of repositories, and a list.

This folder runs in an environment that has a Hugging Face client and nothing of ours.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi
from huggingface_hub.utils import get_session

ENDPOINT = os.environ["HF_ENDPOINT"]
FOLDER = Path(os.environ["AYNI_WALK_FOLDER"])
TOKENS: dict[str, str] = json.loads(os.environ["AYNI_WALK_TOKENS"])
MODE = os.environ["AYNI_WALK_MODE"]
FEATURES = os.environ["AYNI_WALK_FEATURES"].split(",")
VERSION = huggingface_hub.__version__.replace(".", "-")

ada, ben, eve, reader = (HfApi(token=TOKENS[name]) for name in ("ada", "ben", "eve", "ada-reads"))
nobody = HfApi(token=False)
MODEL, DATASET, MOVED, COPY, GATED, TALK = (
    f"lab/{name}-{VERSION}-{MODE}" for name in ("model", "data", "moved", "copy", "gated", "talk")
)
SOURCE = FOLDER / "source"


@dataclass(frozen=True)
class Check:
    """A function that fails where the hub does not answer as the client needs."""

    run: Callable[[], None]
    transfers: bool
    needs: str | None


checks: list[Check] = []


def check(
    *, transfers: bool = False, needs: str | None = None
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a check. `transfers`: also in the mode where files come and go another way.

    `needs` is a feature that not every hub has.
    """

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        checks.append(Check(run=function, transfers=transfers, needs=needs))
        return function

    return enter


def refused(kind: type[Exception], call: Callable[[], object], status: int | None = None) -> None:
    """Assert that a call fails with this error, and with this status if one is named."""
    try:
        call()
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", None)
        assert status in (None, found), f"{found} instead of {status}: {error}"
        return
    raise AssertionError(f"no {kind.__name__}")


def ask(method: str, path: str, *, token: str | None = "ada", **given: Any) -> Any:
    """A request for which this client has no function, by its own session; the JSON of the reply."""
    headers = {"Authorization": f"Bearer {TOKENS[token]}"} if token else {}
    reply = get_session().request(method, f"{ENDPOINT}{path}", headers=headers, **given)
    assert reply.status_code == 200, f"{method} {path}: {reply.status_code} {reply.text[:500]}"
    return reply.json()
