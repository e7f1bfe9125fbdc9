"""Carbon intensity of now and lately from the API of Electricity Maps. Off unless you make one.

Nothing in this product makes an `ElectricityMapsApi` by itself: it takes your token, and only then does it
open a connection, to the one host that is named. What it fetches it returns as a series, whose values a
receipt copies, so that a receipt can be verified without the network.

A failed request is an `IntensityApiError` and never another number. Callers that go on without it use
the rest of the chain, which says so in the receipt.

Not covered: finding your zone from your address, caching on disk, and retries.

Source: app.electricitymaps.com/developer-hub, version 3: GET carbon-intensity/past-range (at most ten days of
hours a request), /history (the last 24 hours; all that the free plan has) and /forecast, header `auth-token`.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ayni.errors import AyniError
from ayni.footprint.grid.basis import Counting
from ayni.footprint.grid.electricity_maps_files import is_electricity_maps_json, series_of_json
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.intensity_series import HOUR, IntensitySeries, hour_of, join_series

BASE_URL = "https://api.electricitymaps.com"
MAX_SPAN = timedelta(days=10)
MAX_BYTES = 5_000_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REFUSED = (401, 403)
_REMEDIES = {
    401: "The token is not accepted: check it.",
    403: "The token may not read this zone or these hours: check its plan.",
    404: "The zone is not known there, or has no data for these hours.",
    429: "Too many requests: try again later.",
}

Fetch = Callable[[str, dict[str, str], float], bytes]
"""URL, headers, seconds until giving up -> body. Raises OSError when there is no answer."""


class IntensityApiError(AyniError):
    """The API of Electricity Maps gave no usable answer."""

    def __init__(self, host: str, reason: str, *, status: int | None = None) -> None:
        self.host = host
        self.status = status
        super().__init__(
            f"{host} gave no carbon intensity: {reason} Nothing measured is lost; without it, figures come "
            "from climatology or annual means and say so."
        )


class ElectricityMapsApi:
    """Hours of a zone from the API. Fulfils `IntensitySource`; raises where it cannot answer.

    `counting` chooses life-cycle or direct figures. `fetch` is how a request is made.
    """

    def __init__(
        self,
        token: str,
        *,
        counting: Counting = "life-cycle",
        base_url: str = BASE_URL,
        timeout_seconds: float = 10.0,
        fetch: Fetch | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        if not token or token != token.strip() or not token.isascii() or not token.isprintable():
            raise ValueError("the token of Electricity Maps is empty or holds blanks")
        if parts.scheme != "https" and self._host not in _LOOPBACK:
            raise ValueError(f"{base_url} would send the token unencrypted; use https")
        self._token = token
        self._counting: Counting = counting
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._fetch = fetch or fetch_with_urllib

    def hours(self, zone: str, start: datetime, end: datetime) -> IntensitySeries | None:
        """The hours of [start, end) that are past; None when the span is empty.

        Raises:
            IntensityApiError: no answer, a refusal, or an answer in another form or for another zone.
        """
        parts = []
        first = hour_of(start)
        stop = first + HOUR * -((first - end) // HOUR)
        while first < stop:
            until = min(stop, first + MAX_SPAN)
            span = {"start": first.isoformat(), "end": until.isoformat()}
            parts.append(self._ask("past-range", zone, span))
            first = until
        return join_series(parts).between(start, end) if parts else None

    def lately(self, zone: str, *, end: datetime, num_days: int) -> IntensitySeries:
        """The days before `end`; where the token may not ask for them the last day, and a note says so.

        Raises:
            IntensityApiError: no answer, a refusal of the last day too, or another form.
        """
        try:
            found = self.hours(zone, end - timedelta(days=num_days), hour_of(end))
        except IntensityApiError as error:
            if error.status not in _REFUSED:
                raise
            found = self.recent(zone)
            note = f"this token may ask for the last day only (status {error.status})"
            found = replace(found, notes=(*found.notes, note))
        if found is None:
            raise ValueError(f"{num_days} days hold no hour")
        return found

    def recent(self, zone: str) -> IntensitySeries:
        """The last 24 hours, which every token may ask for, also those of the free plan.

        Raises:
            IntensityApiError: no answer, a refusal, or an answer in another form or for another zone.
        """
        return self._ask("history", zone, {})

    def forecast(self, zone: str) -> IntensitySeries:
        """The hours to come, as forecast now.

        Raises:
            IntensityApiError: no answer, a refusal (forecasts need a paid plan), or another form.
        """
        return self._ask("forecast", zone, {})

    def _ask(self, what: str, zone: str, span: dict[str, str]) -> IntensitySeries:
        factors = "lifecycle" if self._counting == "life-cycle" else "direct"
        query = {"zone": zone, **span, "temporalGranularity": "hourly", "emissionFactorType": factors}
        url = f"{self._base_url}/v3/carbon-intensity/{what}?{urlencode(query)}"
        data = self._json(url)
        if not is_electricity_maps_json(data):
            raise IntensityApiError(self._host, "the answer is not a list of hours.")
        try:
            return series_of_json(Path(self._host), data, zone=zone, counting=self._counting)
        except GridFileError as error:
            raise IntensityApiError(self._host, f"{error.reason}.") from error

    def _json(self, url: str) -> Any:
        from urllib.error import HTTPError

        headers = {"auth-token": self._token, "Accept": "application/json", "User-Agent": "ayni"}
        try:
            body = self._fetch(url, headers, self._timeout_seconds)
        except HTTPError as error:
            remedy = _REMEDIES.get(error.code, "")
            error.close()
            raise IntensityApiError(
                self._host, f"status {error.code}. {remedy}", status=error.code
            ) from error
        except (OSError, ValueError) as error:
            raise IntensityApiError(self._host, f"{error or type(error).__name__}.") from error
        if len(body) > MAX_BYTES:
            raise IntensityApiError(self._host, f"the answer has more than {MAX_BYTES:,} bytes.")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise IntensityApiError(self._host, "the answer is not JSON.") from error


def fetch_with_urllib(url: str, headers: dict[str, str], timeout_seconds: float) -> bytes:
    """One GET with the standard library. A redirect is an error: it would take the token along.

    Raises:
        OSError: no answer in time, no connection, or a status other than 2xx (HTTPError).
    """
    from http.client import HTTPException
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any, **keywords: Any) -> None:
            """Follow nothing."""

    request = Request(url, headers=headers)
    try:
        with build_opener(NoRedirects).open(request, timeout=timeout_seconds) as answer:
            body: bytes = answer.read(MAX_BYTES + 1)
            return body
    except HTTPException as error:
        raise OSError(f"a broken answer ({type(error).__name__})") from error
