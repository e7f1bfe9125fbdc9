"""Seconds a round against Flower: FedAvg over 5 million float32 parameters, 2 clients, trivial work.

Both sides send float32 both ways, take the mean and add 1 to every parameter in between. A round is the
time from one merged model to the next one, median over the rounds. Ours with its durable checkpoint
(flushed to the disk each round) and without one; Flower's simulation engine, which has none, and as a
note its deployment engine, whose rounds follow the cadence at which nodes ask for work.
"""

import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peer_runs import PeerFailedError, python_of, versions_of
from benchmarks.registry import HERE, Benchmark, Outcome

FLOWER_APP = HERE / "peers" / "flower_app.py"
NUM_ROUNDS = 20
NUM_DEPLOYED_ROUNDS = 4
NEVER = 10**6
APP = """
[project]
name = "trivial"
version = "1.0.0"
[tool.flwr.app]
publisher = "ayni"
[tool.flwr.app.components]
serverapp = "flower_app:server"
clientapp = "flower_app:client"
"""
CONFIG = """
[superlink]
default = "dep"
[superlink.dep]
address = "127.0.0.1:{port}"
insecure = true
"""


def _ours(*, checkpoint_every: int, num_rounds: int) -> list[float]:
    """Seconds of each round but the first, which learners begin without a model."""
    from ayni.task import TaskReference
    from ayni.train.config import TrainConfig
    from ayni.train.dask_engine import DaskEngine
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    config = TrainConfig(
        learners=2,
        rounds=num_rounds,
        local_steps=1,
        batch_size=1,
        device="cpu",
        outer_learning_rate=1.0,
        outer_momentum=0.0,
        codec="fp32",
        download_codec="fp32",
        gradient_clip=None,
        checkpoint_every=checkpoint_every,
    )
    with tempfile.TemporaryDirectory() as folder, DaskEngine(2) as engine:
        result = train(
            TaskReference(module_path=HERE / "trivial_task.py", object_name="FiveMillion"),
            config,
            seed=1,
            folder=Path(folder) / "train",
            spill_folder=Path(folder) / "spill",
            engine=engine,
            observer=SilentObserver(),
        )
    if result.metrics["reached"] != num_rounds:
        raise RuntimeError(f"parameters ended at {result.metrics['reached']} after {num_rounds} rounds")
    ends = [line["wall_seconds"] for line in result.curve]
    return [end - begin for begin, end in itertools.pairwise(ends)]


def _simulated(num_rounds: int) -> list[float]:
    """Seconds of each round of Flower's simulation engine but the first, which starts its actors."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "seconds.json"
        _run_flower([str(FLOWER_APP)], output, num_rounds)
        return _seconds_in(output)[1:]


def _deployed(num_rounds: int) -> list[float]:
    """Seconds of each round of Flower's deployment engine: a SuperLink and two SuperNodes."""
    ports = iter(range(18700, 18800))
    binaries = python_of("flower").parent
    with tempfile.TemporaryDirectory() as folder:
        home, app, output = Path(folder) / "home", Path(folder) / "app", Path(folder) / "seconds.json"
        home.mkdir()
        app.mkdir()
        (app / "pyproject.toml").write_text(APP, encoding="utf-8")
        (app / "flower_app.py").write_bytes(FLOWER_APP.read_bytes())
        port = next(ports)
        (home / "config.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
        environment = _environment(output, num_rounds) | {"FLWR_HOME": str(home)}
        servers = []
        try:
            link = [
                str(binaries / "flower-superlink"),
                "--insecure",
                "--disable-runtime-dependency-installation",
            ]
            servers.append(_spawn([*link, "--host", "127.0.0.1", "--port", str(port)], environment))
            time.sleep(5)
            for _ in range(2):
                node = [str(binaries / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
                servers.append(_spawn([*node, "--port", str(next(ports))], environment))
            subprocess.run(
                [str(binaries / "flwr"), "run", str(app), "dep"],
                env=environment,
                check=True,
                capture_output=True,
            )
            _wait_for(output, seconds=30.0 * num_rounds)
        finally:
            for server in servers:
                server.terminate()
                server.wait()
        return _seconds_in(output)


def _run_flower(words: list[str], output: Path, num_rounds: int) -> None:
    answer = subprocess.run(
        [str(python_of("flower")), *words],
        env=_environment(output, num_rounds),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if answer.returncode or not output.exists():
        raise PeerFailedError(f"Flower ended with {answer.returncode}: {answer.stderr[-2000:]}")


def _environment(output: Path, num_rounds: int) -> dict[str, str]:
    named = {"PEER_OUTPUT": str(output), "PEER_ROUNDS": str(num_rounds), "FLWR_TELEMETRY_ENABLED": "0"}
    path = f"{python_of('flower').parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **named, "OMP_NUM_THREADS": "1", "PATH": path}


def _spawn(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for(path: Path, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise PeerFailedError(f"Flower's deployment engine did not finish within {seconds:g} s")
        time.sleep(0.2)


def _seconds_in(path: Path) -> list[float]:
    seconds: list[float] = json.loads(path.read_text(encoding="utf-8"))["seconds_per_round"]
    return seconds


def measure(quick: bool) -> Outcome:
    """Systems take turns, so that other work on the machine meets them all."""
    repeats = 1 if quick else 3
    found: dict[str, list[float]] = {"ours_without_checkpoint": [], "ours_with_checkpoint": [], "flower": []}
    for _ in range(repeats):
        found["flower"] += _simulated(NUM_ROUNDS)
        found["ours_without_checkpoint"] += _ours(checkpoint_every=NEVER, num_rounds=NUM_ROUNDS)
        found["ours_with_checkpoint"] += _ours(checkpoint_every=1, num_rounds=NUM_ROUNDS)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    values: dict[str, Any] = {f"seconds_per_round_{name}": value for name, value in medians.items()}
    for name in ("ours_without_checkpoint", "ours_with_checkpoint"):
        values[f"times_faster_{name}"] = medians["flower"] / medians[name]
    if not quick:
        deployed = _deployed(NUM_DEPLOYED_ROUNDS)
        values["note_seconds_per_round_flower_deployment_engine"] = statistics.median(deployed)
    values["compared_with"] = versions_of("flower")
    is_met = min(values[name] for name in values if name.startswith("times_faster")) >= 3
    return Outcome(values=values, seeds=(), met=is_met)


BENCHMARK = Benchmark(
    name="against_flower",
    topic="training: other systems",
    bar="FedAvg, 5 million float32 parameters, 2 clients, trivial work, 20 rounds: at least 3 times less "
    "time a round than Flower's simulation engine, with our durable checkpoint on and off",
    seconds_quick=60,
    seconds_full=240,
    measure=measure,
)
