"""Pages of listings: a cursor in the query, and the address of the next page in the header Link.

A cursor is opaque to clients and says where the page before ended, so that what is added meanwhile neither
repeats nor hides an entry.
"""

import base64
import binascii
import json
from typing import Any

from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError


def page_size(call: Call, *, default: int, largest: int) -> int:
    """The `limit` of the query.

    Raises:
        RefusedRequestError: it is no positive number (400).
    """
    text = call.request.query_params.get("limit")
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise RefusedRequestError(400, f"limit={text!r} is no positive number.")
    return min(int(text), largest)


def read_cursor(call: Call) -> Any:
    """The value of the cursor; None on the first page.

    Raises:
        RefusedRequestError: it is none of this hub (400).
    """
    text = call.request.query_params.get("cursor")
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise RefusedRequestError(400, "The cursor is none of this hub. Begin at the first page.") from error
    if not all(_fits(each) for each in (found if isinstance(found, list) else [found])):
        raise RefusedRequestError(400, "The cursor is none of this hub. Begin at the first page.")
    return found


def _fits(value: Any) -> bool:
    """Whether a database can compare with it: a number of 64 bits, or a text without half characters."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    return value is None or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63)


def next_link(call: Call, cursor: Any) -> dict[str, str]:
    """The header Link to the page after; empty at the end, when the cursor is None."""
    if cursor is None:
        return {}
    text = base64.urlsafe_b64encode(json.dumps(cursor).encode()).rstrip(b"=").decode()
    query = [pair for pair in call.request.query_params.multi_items() if pair[0] != "cursor"]
    return {"Link": f'<{call.own_url([*query, ("cursor", text)])}>; rel="next"'}
