"""Leaderboards: all that are declared, and one with its table, its weights and its front.

The picture shows value against energy; the table beside it says the same and more, for every model that the
visitor may see. How the score is made stands below it: nothing is weighed that is not declared.

Not covered: declaring one, which is a part of `/api/v1`.
"""

from starlette.responses import Response

from ayni.hub import evaluations, leaderboards
from ayni.hub.leaderboards import TERMS, Term
from ayni.hub.permissions import visible
from ayni.server.leaderboard_plot import front_plot
from ayni.server.routing import Route
from ayni.server.web.visit import Visit

MOST_BOARDS = 500
MOST_ENTRIES = 200
TERM_WORDS: dict[Term, tuple[str, str]] = {
    "value": ("What was measured", ""),
    "size": ("Size", "bytes"),
    "latency": ("Latency", "seconds"),
    "energy": ("Energy", "joules for 1000 inferences"),
}


def show_all(visit: Visit) -> Response:
    """`GET /leaderboard`."""
    with visit.hub.database.reading() as connection:
        found = leaderboards.page(connection, visible=visible(visit.caller), limit=MOST_BOARDS)
    return visit.show("leaderboards.html.j2", boards=found)


def show(visit: Visit) -> Response:
    """`GET /leaderboard/{namespace}/{name}`."""
    seen = visible(visit.caller)
    with visit.hub.database.reading() as connection:
        board = leaderboards.find(connection, visit.part("namespace"), visit.part("name"), visible=seen)
        found = evaluations.of_dataset(connection, board.dataset, visible=seen, measure=board.measure)
    entries = leaderboards.ranked(board, found)
    energies = [each.evaluation.measured.energy_joules_per_1000 for each in entries]
    known = [each for each in energies if each is not None]
    return visit.show(
        "leaderboard.html.j2",
        board=board,
        entries=entries[:MOST_ENTRIES],
        num_entries=len(entries),
        num_without_energy=len(entries) - len(known),
        # One unit in the column, so that it can be compared by eye.
        most_joules=max(known, default=None),
        plot=front_plot(board, entries),
        terms=[(*TERM_WORDS[term], board.scales[term]) for term in TERMS if term in board.scales],
        most=sum(scale.weight for scale in board.scales.values()),
    )


ROUTES = (
    Route(method="GET", pattern="/leaderboard", action="repository.list", subject="none", handler=show_all),
    Route(
        method="GET",
        pattern="/leaderboard/{namespace}/{name}",
        action="repository.list",
        subject="none",
        handler=show,
    ),
)
