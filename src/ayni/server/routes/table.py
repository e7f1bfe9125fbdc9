"""The table of all routes of the Hugging Face Hub's API, in the order in which they are tried."""

from ayni.server.routes import (
    access,
    cards,
    commit,
    device_logins,
    discussions,
    elsewhere,
    git,
    history,
    identity,
    large_files,
    leaderboard,
    lfs,
    likes,
    listing,
    repositories,
    resolve,
    storage,
    trees,
    xet,
)
from ayni.server.routing import Route

ROUTES: tuple[Route, ...] = (
    *identity.ROUTES,
    *device_logins.ROUTES,
    *access.ROUTES,
    *repositories.ROUTES,
    *listing.ROUTES,
    *cards.ROUTES,
    *trees.ROUTES,
    *history.ROUTES,
    *commit.ROUTES,
    *lfs.ROUTES,
    *large_files.ROUTES,
    *storage.ROUTES,
    *xet.ROUTES,
    *discussions.ROUTES,
    *likes.ROUTES,
    *git.ROUTES,
    *leaderboard.ROUTES,
    *resolve.ROUTES,
    # Last: what no other row fits.
    *elsewhere.ROUTES,
)
