"""The calls of the Hugging Face Hub's API that clients must, and that they should, be able to make.

A row is one call; M stands for must and S for should, as in our reference of the protocol. `{kind}` is
models, datasets or spaces, `{repo}` a name with its namespace, and the last part may be percent-encoded.

Not covered: what a call is to answer; the checks in `hub_client/` look at that.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

_PARTS = {
    "kind": r"(?:models|datasets|spaces)",
    "prefix": r"(?:(?:datasets|spaces)/)?",
    "repo": r"[^/]+/[^/]+",
    "hash": r"(?:default|default-merkledb)/[0-9a-f]{64}",
    "file": r"[0-9a-f]{64}",
    "path": r".+",
}


@dataclass(frozen=True)
class HubCall:
    """One row of the table; `needs` is what a hub must have for it, where not every hub has it."""

    priority: Literal["M", "S"]
    method: str
    pattern: str
    needs: str = "repositories"

    @property
    def name(self) -> str:
        """Method and pattern."""
        return f"{self.method} {self.pattern}"

    @cached_property
    def shape(self) -> re.Pattern[str]:
        """What fits paths, with their query."""
        parts = re.split(r"\{(\w+)\}", self.pattern)
        wanted = [
            re.escape(part) if number % 2 == 0 else _PARTS.get(part, r"[^/?]+")
            for number, part in enumerate(parts)
        ]
        # A row that names a query wants just that one; others take any.
        return re.compile("".join(wanted) + ("" if "?" in self.pattern else r"(?:\?.*)?"))


def calls_made(requests: Iterable[tuple[str, str, int]]) -> dict[str, set[int]]:
    """The rows that some requests (method, path with query, status) are of, with their statuses."""
    found: dict[str, set[int]] = {}
    for method, path, status in requests:
        for call in CALLS:
            if call.method == method and call.shape.fullmatch(path):
                found.setdefault(call.name, set()).add(status)
    return found


_API = "/api/{kind}/{repo}"
_LFS = "/{prefix}{repo}.git/info/lfs"
_RESOLVE = "/{prefix}{repo}/resolve/{rev}/{path}"
_ASK = f"{_API}/user-access-request"
_TALK = f"{_API}/discussions"

CALLS = (
    HubCall("M", "GET", "/api/whoami-v2"),
    HubCall("S", "POST", "/oauth/device", "device logins"),
    HubCall("S", "POST", "/oauth/token", "device logins"),
    HubCall("M", "POST", "/api/repos/create"),
    HubCall("M", "DELETE", "/api/repos/delete"),
    HubCall("M", "POST", "/api/repos/move"),
    HubCall("M", "PUT", f"{_API}/settings"),
    HubCall("S", "POST", f"{_API}/duplicate"),
    HubCall("M", "GET", f"{_API}/auth-check"),
    HubCall("M", "GET", f"{_API}/auth-check/write"),
    HubCall("M", "POST", "/api/validate-yaml"),
    HubCall("M", "POST", f"{_API}/preupload/{{rev}}"),
    HubCall("M", "POST", f"{_API}/preupload/{{rev}}?create_pr=1", "discussions"),
    HubCall("M", "POST", f"{_API}/commit/{{rev}}"),
    HubCall("M", "POST", f"{_API}/commit/{{rev}}?create_pr=1", "discussions"),
    HubCall("M", "GET", f"{_API}/xet-read-token/{{rev}}"),
    HubCall("M", "GET", f"{_API}/xet-write-token/{{rev}}"),
    HubCall("M", "POST", "/cas/v1/xorbs/{hash}"),
    HubCall("M", "POST", "/cas/v2/shards"),
    HubCall("M", "POST", "/cas/v1/shards"),
    HubCall("M", "GET", "/cas/v1/chunks/{hash}"),
    HubCall("S", "POST", "/cas/v1/xorb-grants/{hash}"),
    HubCall("S", "GET", "/cas/v2/reconstructions/{file}"),
    HubCall("S", "GET", "/cas/v1/reconstructions/{file}"),
    HubCall("M", "POST", f"{_LFS}/objects/batch"),
    HubCall("M", "PUT", "/lfs/{ticket}"),
    HubCall("M", "POST", "/lfs/{ticket}"),
    HubCall("M", "POST", f"{_LFS}/verify"),
    HubCall("M", "HEAD", _RESOLVE),
    HubCall("M", "GET", _RESOLVE),
    HubCall("S", "GET", f"{_API}/lfs-files"),
    HubCall("S", "POST", f"{_API}/lfs-files/batch"),
    HubCall("S", "POST", f"{_API}/lfs-files/duplicate"),
    HubCall("S", "POST", f"{_API}/super-squash/{{branch}}"),
    HubCall("M", "GET", _API),
    HubCall("M", "GET", f"{_API}/revision/{{rev}}"),
    HubCall("M", "GET", f"{_API}/tree/{{rev}}"),
    HubCall("M", "GET", f"{_API}/tree/{{rev}}/{{folder}}"),
    HubCall("M", "POST", f"{_API}/paths-info/{{rev}}"),
    HubCall("M", "GET", f"{_API}/refs"),
    HubCall("M", "POST", f"{_API}/branch/{{branch}}"),
    HubCall("M", "DELETE", f"{_API}/branch/{{branch}}"),
    HubCall("M", "POST", f"{_API}/tag/{{rev}}"),
    HubCall("M", "DELETE", f"{_API}/tag/{{tag}}"),
    HubCall("M", "GET", f"{_API}/commits/{{rev}}"),
    HubCall("M", "GET", "/api/{kind}"),
    HubCall("S", "GET", "/api/models-tags-by-type"),
    HubCall("S", "GET", "/api/datasets-tags-by-type"),
    HubCall("S", "POST", f"{_API}/like", "likes"),
    HubCall("S", "DELETE", f"{_API}/like", "likes"),
    HubCall("S", "GET", f"{_API}/likers", "likes"),
    HubCall("S", "GET", "/api/users/{user}/likes", "likes"),
    HubCall("S", "GET", "/api/users/{user}/overview"),
    HubCall("S", "GET", "/api/organizations/{organisation}/overview"),
    HubCall("S", "GET", "/api/organizations/{organisation}/members"),
    HubCall("S", "GET", "/api/settings/repositories"),
    HubCall("S", "GET", "/api/datasets/{repo}/leaderboard", "leaderboards"),
    HubCall("M", "GET", _TALK, "discussions"),
    HubCall("M", "GET", f"{_TALK}/{{number}}", "discussions"),
    HubCall("M", "POST", _TALK, "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/comment", "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/status", "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/title", "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/merge", "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/comment/{{comment}}/edit", "discussions"),
    HubCall("M", "POST", f"{_TALK}/{{number}}/comment/{{comment}}/hide", "discussions"),
    HubCall("M", "GET", f"{_ASK}/pending"),
    HubCall("M", "GET", f"{_ASK}/accepted"),
    HubCall("M", "GET", f"{_ASK}/rejected"),
    HubCall("M", "POST", f"{_ASK}/handle"),
    HubCall("M", "POST", f"{_ASK}/grant"),
)
