"""Fixtures that several folders of tests share."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("ayni", deadline=None)
hypothesis.settings.load_profile("ayni")
# One thread for each process that a test starts: learners are processes, and more threads than cores
# slow everything down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh AYNI_HOME that this process and its children use."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AYNI_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A real PostgreSQL server of this test process; skips where there is none to be had."""
    from benchmarks.postgresql_server import NoServerError, PostgresqlServer

    try:
        server = PostgresqlServer().__enter__()
    except NoServerError as error:
        pytest.skip(str(error))
    with contextlib.ExitStack() as stack:
        stack.push(server)
        yield server


@pytest.fixture(scope="session")
def migrated(postgresql: Any) -> str:
    """The name of a PostgreSQL database with all tables, to be copied: that is faster than to migrate."""
    from ayni.database import Database

    url: str = postgresql.new_database()
    Database(url).close()
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An empty database of either system."""
    from ayni.database import Database

    if request.param == "sqlite":
        opened = Database(tmp_path / "state.db")
    else:
        server = request.getfixturevalue("postgresql")
        opened = Database(server.new_database(request.getfixturevalue("migrated")))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A real S3 of this test process; skips where there is none to be had."""
    from benchmarks.s3_server import NoS3Error, S3Server

    try:
        server = S3Server().__enter__()
    except NoS3Error as error:
        pytest.skip(str(error))
    with contextlib.ExitStack() as stack:
        stack.push(server)
        yield server


@pytest.fixture
def compress_result() -> dict[str, Any]:
    """A compression as a run keeps it: int8 is chosen, int4 is slow, the time of int3 is not to be quoted."""
    from ayni.compress.config import CompressConfig, SearchConfig
    from ayni.compress.evidence.break_even import EnergyInterval
    from ayni.compress.evidence.changes import Answers, find_changes
    from ayni.compress.evidence.evaluate import Interval
    from ayni.compress.evidence.inference_cost import InferenceEnergy, Latency
    from ayni.compress.measure_variants import Costs
    from ayni.compress.rating import rate
    from ayni.compress.search import SearchSummary
    from ayni.compress.variants import Artefact, Quality

    labels = [0] * 60 + [1] * 40
    # int8 gets 12 of class 1 wrong and all else right, as the full model does.
    answers = [0] * 60 + [0] * 12 + [1] * 28
    changes = find_changes(
        Answers.from_logits([[4.0, 0.0]] * 60 + [[0.0, 4.0]] * 40),
        Answers.from_logits([[2.0, 0.0] if answer == 0 else [0.0, 2.0] for answer in answers]),
        labels,
        class_names=["cat", "dog"],
    )

    def artefact(name: str, accuracy: float, stored_bytes: int, **values: Any) -> Artefact:
        return Artefact(
            name=name,
            file=Path("compress", f"{name}.onnx"),
            is_candidate=name.startswith("int"),
            num_parameters=1_000_000,
            stored_bytes=stored_bytes,
            quality=Quality(
                validation={"accuracy": accuracy},
                test={"accuracy": accuracy},
                interval=Interval(low=accuracy - 0.01, high=accuracy + 0.01, level=0.95, method="wilson"),
            ),
            note="",
            making=EnergyInterval(low_joules=10.0, joules=20.0, high_joules=40.0),
            **{"runtime": "onnxruntime", "no_changes_reason": "nobody looked", **values},
        )

    def latency(seconds: float, *, problem: str | None = None) -> tuple[Latency, ...]:
        return tuple(
            Latency(
                p50_seconds=seconds * batch,
                p25_seconds=0.9 * seconds * batch,
                p75_seconds=1.1 * seconds * batch,
                min_seconds=0.8 * seconds * batch,
                cpu_p50_seconds=seconds * batch,
                first_seconds=seconds,
                num_calls=100,
                num_threads=1,
                batch_size=batch,
                problem=problem if batch == 1 else None,
            )
            for batch in (1, 32)
        )

    def energy(joules: float) -> InferenceEnergy:
        return InferenceEnergy(
            joules_per_1000=joules,
            low_joules_per_1000=joules / 2,
            high_joules_per_1000=joules * 2,
            tier="W3",
        )

    artefacts = [
        artefact("full", 0.98, 4_000_000, runtime="torch", no_changes_reason="the full model itself"),
        artefact("full-onnx", 0.98, 4_010_000),
        artefact("int8", 0.975, 1_000_000, changes=changes, no_changes_reason=""),
        artefact("int4", 0.94, 600_000, runtime="torch"),
        artefact("int3", 0.93, 500_000, runtime="torch"),
    ]
    result = rate(
        artefacts,
        Costs(
            latencies={
                "full": latency(0.002),
                "full-onnx": latency(0.001),
                "int8": latency(0.0005),
                "int4": latency(0.004),
                "int3": latency(0.004, problem="40 of 100 calls waited"),
            },
            energies={
                name: energy(joules)
                for name, joules in zip(
                    [one.name for one in artefacts], (20.0, 10.0, 5.0, 40.0, 40.0), strict=True
                )
            },
            memories=dict.fromkeys([one.name for one in artefacts]),
        ),
        CompressConfig(search=SearchConfig()),
        metric_direction="higher",
        search=SearchSummary(
            stopped="20 s of 20 s are used up",
            num_measured=2,
            skipped={f"pruned{number}": "it loses 0.1 on the proxy measure" for number in range(12)},
            seconds=19.0,
            joules=300.0,
        ),
    )
    return result.to_json()


@pytest.fixture
def compress_view(compress_result: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The object of a run of which only the compression is there, by the name of the run."""
    from ayni.reports.run_view import run_view

    def viewed(run_id: str = "run-1", result: dict[str, Any] | None = None) -> dict[str, Any]:
        return run_view(
            run_id=run_id,
            status={"status": "finished"},
            job={"spec": {"name": "cats", "compress": {"max_accuracy_drop": 0.01}}},
            results={"compress": compress_result if result is None else result},
            receipts=[],
            transactions=[],
            folder=Path("/runs") / run_id,
        )

    return viewed
