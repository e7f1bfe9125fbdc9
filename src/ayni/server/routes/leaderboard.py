"""`GET /api/datasets/{repo}/leaderboard`, as the Hugging Face Hub's API has it: models by value.

What is better, and which measure counts, says the first leaderboard that is declared for the data set;
without one it is the measure that most models have, and higher is better. Derived models are left out unless
the query says `base_model=false`. `measure=NAME` asks for another measure.
"""

from collections import Counter
from typing import Any

from starlette.responses import JSONResponse, Response

from ayni.hub import evaluations, leaderboards
from ayni.hub.evaluations import Evaluation
from ayni.hub.permissions import visible
from ayni.hub.revisions import EntryNotFoundError
from ayni.server.call import Call
from ayni.server.routing import Route


def show_leaderboard(call: Call) -> Response:
    """One entry for each model and file, the best first."""
    query, seen = call.request.query_params, visible(call.caller)
    only_bases = query.get("base_model", "true").lower() != "false"
    name = call.repository.name
    if call.repository.kind != "dataset":
        raise EntryNotFoundError(name, "main", "leaderboard")
    with call.hub.database.reading() as connection:
        found = evaluations.of_dataset(connection, name, visible=seen, only_bases=only_bases)
        declared = leaderboards.page(connection, visible=seen, dataset=name, limit=1)
    is_lower_better = bool(declared) and declared[0].lower_is_better
    measure = query.get("measure") or (declared[0].measure if declared else _usual(found))
    shown = [each for each in found if each.measure == measure]
    if not shown and not declared:
        raise EntryNotFoundError(name, "main", "leaderboard")
    shown.sort(key=lambda each: each.value if is_lower_better else -each.value)
    return JSONResponse([_json(rank, each) for rank, each in enumerate(shown, start=1)])


def _usual(found: list[Evaluation]) -> str:
    counts = Counter(each.measure for each in found)
    return max(sorted(counts), key=lambda name: counts[name], default="")


def _json(rank: int, evaluation: Evaluation) -> dict[str, Any]:
    owner, claim = evaluation.repository.partition("/")[0], evaluation.claim
    author = {"type": "user", "name": owner, "fullname": owner, "avatarUrl": ""}
    said: dict[str, Any] = {
        "rank": rank,
        "modelId": evaluation.repository,
        "value": evaluation.value,
        "filename": evaluation.filename,
        "verified": evaluation.evidence == "verified",
        "source": claim.get("source") if isinstance(claim.get("source"), dict) else None,
        "author": author,
    }
    if isinstance(claim.get("notes"), str):
        said["notes"] = claim["notes"]
    return said


ROUTES = (
    Route(
        method="GET",
        pattern="/api/{kind}/{repo}/leaderboard",
        action="repository.see",
        handler=show_leaderboard,
    ),
)
