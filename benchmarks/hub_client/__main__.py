"""Walk every call that a hub promises, with the client of this environment; each check is a line of JSON.

    python -m benchmarks.hub_client

Where to, in whose names and how the environment says (`hub_contract.py`). Ends with 0 when every check was
made, whether or not it passed.
"""

import json
import traceback

from benchmarks.hub_client import files, listings, people, repositories
from benchmarks.hub_client.session import FEATURES, FOLDER, MODE, Check, checks

# Imported for the checks that they enter, in the order in which they run.
MODULES = (repositories, files, listings, people)


def main() -> None:
    """Run the checks of this mode."""
    (FOLDER / "source").mkdir(parents=True, exist_ok=True)
    repositories.last_checks()
    for each in _in_order():
        problem = None
        try:
            each.run()
        except Exception:
            problem = traceback.format_exc(limit=-6)
        print(json.dumps({"check": each.run.__name__, "problem": problem}), flush=True)


def _in_order() -> list[Check]:
    return [
        each
        for each in checks
        if (each.transfers or MODE != "chunks-1") and (each.needs is None or each.needs in FEATURES)
    ]


if __name__ == "__main__":
    main()
