"""The table of all pages, in the order in which they are tried."""

from ayni.server.routing import Route
from ayni.server.web import (
    access_page,
    discussions_page,
    files_page,
    history_page,
    leaderboard_page,
    lineage_page,
    listing_page,
    login_page,
    member_page,
    receipts_page,
    repository_page,
    settings_page,
    static_page,
    tokens_page,
)

PAGE_ROUTES: tuple[Route, ...] = (
    *static_page.ROUTES,
    *listing_page.ROUTES,
    *login_page.ROUTES,
    *tokens_page.ROUTES,
    *leaderboard_page.ROUTES,
    *repository_page.ROUTES,
    *files_page.ROUTES,
    *history_page.ROUTES,
    *lineage_page.ROUTES,
    *receipts_page.ROUTES,
    *access_page.ROUTES,
    *discussions_page.ROUTES,
    *settings_page.ROUTES,
    # Last: any name.
    *member_page.ROUTES,
)
