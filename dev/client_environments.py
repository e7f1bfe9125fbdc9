"""Make the environments of the Hugging Face clients that the contract suite walks with, and print them.

Made once, kept in the user's cache (AYNI_BENCHMARK_ENVIRONMENTS names another folder); the newest client is
looked for anew each week. `make test-slow` makes them when they are not there; this is for doing it before.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.hub_contract import CLIENTS, python_of_client

if __name__ == "__main__":
    for name in CLIENTS:
        print(name, python_of_client(name), flush=True)
