"""Logging in on a device without a browser: `/oauth/device`, `/oauth/token`, the page that takes a code.

The page takes a token of the member instead of a cookie: nobody can be made to let a device in by visiting
another site.

Source: RFC 8628.
"""

from starlette.responses import HTMLResponse, JSONResponse, Response

from ayni.hub import audit, device_logins, members
from ayni.hub.callers import Caller
from ayni.hub.device_logins import DeviceLoginError, DeviceTokens
from ayni.hub.permissions import allowed
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError, refused
from ayni.server.routing import Route
from ayni.server.served_hub import ServedHub

_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_REFRESH = "refresh_token"
_NO_STORE = {"Cache-Control": "no-store"}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Let a device in</title>
<h1>Let a device in</h1>
<p>A device shows a code of eight letters. If you began that login yourself, type its code, and a token of
yours with the scope write. Never type a code that somebody sent you.</p>
<form method="post" action="/device">
<p><label>Code <input name="user_code" autocomplete="off" required maxlength="9"></label></p>
<p><label>Token <input name="token" type="password" autocomplete="off" required></label></p>
<p><button>Let it in</button></p>
</form></html>
"""
_DONE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The device is in</title>
<h1>The device is in</h1><p>It goes on by itself. You can close this page.</p></html>
"""
_PAGE_HEADERS = {
    **_NO_STORE,
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def begin(call: Call) -> Response:
    """`POST /oauth/device`: a code for the device, and one for its user."""
    with call.hub.database.transaction() as connection:
        codes = device_logins.begin(connection, now=call.hub.now())
    page = call.url("/device")
    said = {
        "device_code": codes.device_code,
        "user_code": codes.user_code,
        "verification_uri": page,
        "verification_uri_complete": page,
        "interval": device_logins.POLL_SECONDS,
        "expires_in": int(device_logins.CODE_LASTS.total_seconds()),
    }
    return JSONResponse(said, headers=_NO_STORE)


def exchange(call: Call) -> Response:
    """`POST /oauth/token`: tokens for a device's code, or for a refresh token."""
    form = {name: values[-1] for name, values in call.form().items()}
    try:
        found = _exchanged(call, form)
    except DeviceLoginError as error:
        # OAuth's form of an error, which is what its clients read.
        return JSONResponse({"error": error.code, "error_description": str(error)}, 400, _NO_STORE)
    said = {
        "access_token": found.access_token,
        "refresh_token": found.refresh_token,
        "token_type": "bearer",
        "expires_in": int(device_logins.TOKEN_LASTS.total_seconds()),
    }
    return JSONResponse(said, headers=_NO_STORE)


def show_page(_call: Call) -> Response:
    """`GET /device`."""
    return HTMLResponse(_PAGE, headers=_PAGE_HEADERS)


def take_page(call: Call) -> Response:
    """`POST /device`: a code and the token of who lets the device in."""
    form = {name: values[-1] for name, values in call.form().items()}
    let_in(call.hub, call.hub.callers.caller_of(form.get("token", "").strip()), form.get("user_code", ""))
    return HTMLResponse(_DONE, headers=_PAGE_HEADERS)


def let_in(hub: ServedHub, caller: Caller, user_code: str) -> None:
    """Let the device that shows a code act for the caller.

    Raises:
        RefusedRequestError: the caller's token does not allow to make another.
        UnknownUserCodeError: no device shows this code.
    """
    decision = allowed(caller, "identity.write")
    if decision != "yes":
        raise refused(decision, caller, "")
    with hub.database.transaction() as connection:
        user = members.get(connection, str(caller.user), "user")
        device_logins.allow(connection, user_code, user.id, now=hub.now())
        audit.note(connection, caller, "token.device", user.name, now=hub.now())


def _exchanged(call: Call, form: dict[str, str]) -> DeviceTokens:
    grant, now = form.get("grant_type"), call.hub.now()
    with call.hub.database.transaction() as connection:
        if grant == _DEVICE_CODE:
            return device_logins.collect(connection, form.get("device_code", ""), now=now)
        if grant == _REFRESH:
            return device_logins.renew(connection, form.get("refresh_token", ""), now=now)
    raise RefusedRequestError(400, f"grant_type is {_DEVICE_CODE} or {_REFRESH}.")


ROUTES = tuple(
    Route(method=method, pattern=pattern, action="public", subject="none", handler=handler)
    for method, pattern, handler in (
        ("POST", "/oauth/device", begin),
        ("POST", "/oauth/token", exchange),
        ("GET", "/device", show_page),
        ("POST", "/device", take_page),
    )
)
