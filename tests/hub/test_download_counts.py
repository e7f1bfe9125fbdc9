"""A client counts once within five minutes, however many files it fetches."""

from datetime import timedelta

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import catalogue
from ayni.hub.download_counts import DownloadCounts

__all__ = ["connection"]


def test_each_client_counts_once_within_five_minutes(connection: sa.Connection) -> None:
    first, second = (
        catalogue.create(connection, "model", f"me/{name}", visibility="public", when=WHEN).id
        for name in "ab"
    )
    counts = DownloadCounts()

    due = [
        counts.note(number, client, now=WHEN + timedelta(seconds=seconds))
        for number, client, seconds in [
            (first, "ada", 0),
            (first, "ada", 299),
            (first, "ben", 1),
            (second, "ada", 2),
            (first, "ada", 300),
        ]
    ]
    counts.write(connection)
    counts.write(connection)

    assert due == [True, False, False, False, True]
    found = [catalogue.by_id(connection, number).num_downloads for number in (first, second)]
    assert found == [3, 1]
