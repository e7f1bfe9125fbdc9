"""Run two processes of one system beside each other, and measure them as a pair.

    python -m benchmarks.peers.pair MODULE [ARGUMENT ...]

Each process says `ready` when it has met the other one, waits for `go`, says `done` when its last step
is over, and at last prints its result as one line of JSON. Between `go` and the second `done` the clock
runs and the bytes on the loopback interface are counted: neither start nor validation belongs to it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.peers import loopback

NUM_PEERS = 2


def run_pair(command: list[str]) -> dict[str, Any]:
    """Seconds, bytes and the results of both processes."""
    loopback.bring_up()
    with tempfile.TemporaryDirectory() as meeting:
        peers = [_start([*command, "--rank", str(rank), "--meeting", meeting]) for rank in range(NUM_PEERS)]
        try:
            return _measure(peers)
        finally:
            for peer in peers:
                # With all that it started: a helper process that lives on would hold our output open.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(peer.pid, signal.SIGKILL)
                peer.wait()


def _start(command: list[str]) -> "subprocess.Popen[str]":
    # One core for each, as every system gets here.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _measure(peers: list["subprocess.Popen[str]"]) -> dict[str, Any]:
    for peer in peers:
        _expect(peer, "ready")
    before, started = loopback.bytes_sent(), time.perf_counter()
    for peer in peers:
        assert peer.stdin
        print("go", file=peer.stdin, flush=True)
    for peer in peers:
        _expect(peer, "done")
    seconds, sent = time.perf_counter() - started, loopback.bytes_sent() - before
    return {"seconds": seconds, "bytes_sent": sent, "peers": [json.loads(_next_line(peer)) for peer in peers]}


def _expect(peer: "subprocess.Popen[str]", word: str) -> None:
    # Some libraries print to standard output too.
    while _next_line(peer) != word:
        pass


def _next_line(peer: "subprocess.Popen[str]") -> str:
    assert peer.stdout
    line = peer.stdout.readline()
    if not line:
        raise RuntimeError(f"{peer.args!r} ended early, with exit code {peer.wait()}")
    return line.strip()


if __name__ == "__main__":
    print(json.dumps(run_pair(sys.argv[1:])), flush=True)
