"""Clusters that somebody else started: schedulers and workers are processes of their own."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import safetensors.torch
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ayni.train.accepted import check_samples
from ayni.train.cluster_checks import (
    CertificateFileError,
    NoWorkersError,
    PackageMismatchError,
    SchedulerLostError,
    SchedulerRefusedError,
    SchedulerUnreachableError,
    UnreachableWorkerError,
)
from ayni.train.dask_engine import DaskEngine, make_engine
from ayni.train.result import RoundProgress, TrainResult
from ayni.train.strategy_config import StreamingConfig, TlsConfig

from .cluster_processes import ClusterProcesses, await_true, cluster_of, free_port

pytestmark = pytest.mark.cluster

COMMAND = Path(__file__).with_name("cluster_command.py")

Train = Callable[..., TrainResult]


class Watching:
    """Does something once, a moment after a round was finished, and keeps the notices."""

    def __init__(self, action: Callable[[], None], *, after_round: int) -> None:
        self._action = action
        self._after_round = after_round
        self.is_done = False
        self.notices: list[str] = []

    def round_finished(self, progress: RoundProgress) -> None:
        if progress.round >= self._after_round and not self.is_done:
            self.is_done = True
            time.sleep(0.1)
            self._action()

    def noticed(self, message: str) -> None:
        self.notices.append(message)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    with cluster_of(tmp_path_factory.mktemp("cluster"), num_workers=2) as started:
        yield started


@pytest.fixture
def empty_cluster(tmp_path: Path) -> Iterator[ClusterProcesses]:
    with cluster_of(tmp_path, num_workers=0) as started:
        yield started


def assert_same_model(one: TrainResult, other: TrainResult) -> None:
    a, b = (safetensors.torch.load_file(result.model_path) for result in (one, other))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("strategy", ["diloco", "sync", "streaming"])
def test_a_cluster_of_others_gives_the_same_bits_as_one_process(
    train_tiny: Train, tmp_path: Path, cluster: ClusterProcesses, strategy: str
) -> None:
    changes = {"strategy": strategy, "streaming": StreamingConfig(fragments=2)}
    expected = train_tiny(folder=tmp_path / "in-process", **changes)

    with DaskEngine(address=cluster.address, num_needed=2) as engine:
        result = train_tiny(folder=tmp_path / "cluster", engine=engine, **changes)

    assert_same_model(result, expected)
    assert check_samples(tmp_path / "cluster") == []


def test_a_killed_worker_is_noticed_within_a_second_and_costs_no_optimizer_state(
    train_tiny: Train, tmp_path: Path, cluster: ClusterProcesses
) -> None:
    expected = train_tiny(task="Slow", folder=tmp_path / "unbroken")

    with DaskEngine(address=cluster.address, num_needed=2) as engine:
        observer = Watching(lambda: os.kill(engine.worker_process_ids()[1], signal.SIGKILL), after_round=1)
        result = train_tiny(task="Slow", folder=tmp_path / "killed", engine=engine, observer=observer)

    assert_same_model(result, expected)
    assert result.num_optimizer_resets == 0
    assert any("learner 1 was lost in round 2" in notice for notice in observer.notices)


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"

    with (
        pytest.raises(SchedulerUnreachableError, match="dask scheduler") as caught,
        DaskEngine(address=address),
    ):
        pass

    assert caught.value.exit_code == 2


def test_a_cluster_without_workers_is_refused_with_the_command_that_starts_one(
    empty_cluster: ClusterProcesses,
) -> None:
    engine = DaskEngine(address=empty_cluster.address, num_needed=2, workers_seconds=0.2)

    with (
        pytest.raises(NoWorkersError, match=f"0 of the 2 workers.*dask worker {empty_cluster.address}"),
        engine,
    ):
        pass


def test_a_worker_that_cannot_be_called_back_is_refused_with_the_reason(
    empty_cluster: ClusterProcesses,
) -> None:
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    own = f"tcp://127.0.0.1:{free_port()}"
    empty_cluster.start_worker("lost", "--listen-address", own, "--contact-address", nowhere)

    engine = DaskEngine(address=empty_cluster.address, probe_seconds=2.0)

    with pytest.raises(UnreachableWorkerError, match=f"{nowhere}.*could not call it back.*--contact"), engine:
        pass


def test_a_worker_with_another_version_is_refused_with_both_versions(
    tmp_path: Path, empty_cluster: ClusterProcesses
) -> None:
    metadata = tmp_path / "other" / "ayni-9.9.9.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ayni\nVersion: 9.9.9\n")
    empty_cluster.start_worker("other", environment={"PYTHONPATH": str(metadata.parent)})

    with (
        pytest.raises(PackageMismatchError, match=r"ayni 9\.9\.9 there"),
        DaskEngine(address=empty_cluster.address),
    ):
        pass


@pytest.mark.slow
def test_a_worker_that_comes_late_takes_part_and_a_wrong_one_is_left_out(
    train_tiny: Train, tmp_path: Path, empty_cluster: ClusterProcesses
) -> None:
    metadata = tmp_path / "other" / "ayni-9.9.9.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ayni\nVersion: 9.9.9\n")
    empty_cluster.start_worker("first")

    def start_more() -> None:
        empty_cluster.start_worker("wrong", environment={"PYTHONPATH": str(metadata.parent)})
        empty_cluster.start_worker("late")

    observer = Watching(start_more, after_round=1)
    with DaskEngine(address=empty_cluster.address) as engine:
        result = train_tiny(
            task="Slow", engine=engine, observer=observer, quorum=1, grace_seconds=0.1, rounds=60, learners=2
        )

    assert result.curve[0]["learners_alive"] == 1
    assert result.curve[-1]["learners_alive"] == 2
    assert any("left out" in notice and "9.9.9" in notice for notice in observer.notices)
    assert check_samples(tmp_path / "train") == []


@pytest.mark.slow
def test_a_late_worker_without_the_data_is_left_out_and_ends_nothing(
    train_tiny: Train, tmp_path: Path, empty_cluster: ClusterProcesses
) -> None:
    empty_cluster.start_worker("first")
    lacking = {"TINY_DATA_ARE_MISSING": "1"}
    observer = Watching(lambda: empty_cluster.start_worker("lacking", environment=lacking), after_round=1)

    with DaskEngine(address=empty_cluster.address) as engine:
        result = train_tiny(
            task="SlowAndNotEverywhere",
            engine=engine,
            observer=observer,
            quorum=1,
            grace_seconds=0.1,
            rounds=60,
        )

    assert result.curve[-1]["learners_alive"] == 1
    assert any("left out" in notice and "points.csv" in notice for notice in observer.notices)
    assert check_samples(tmp_path / "train") == []


@pytest.mark.slow
def test_a_worker_that_hangs_without_a_nanny_is_left_out_and_the_others_go_on(
    train_tiny: Train, tmp_path: Path, empty_cluster: ClusterProcesses
) -> None:
    empty_cluster.start_worker("w0")
    hanging = empty_cluster.start_worker("w1", "--no-nanny")

    with DaskEngine(address=empty_cluster.address, num_needed=2) as engine:
        observer = Watching(lambda: os.kill(hanging.pid, signal.SIGSTOP), after_round=1)
        result = train_tiny(
            task="Slow",
            engine=engine,
            observer=observer,
            quorum=1,
            grace_seconds=0.5,
            round_deadline_seconds=5.0,
            max_attempts=20,
            rounds=30,
        )

    assert result.rounds == 30
    assert any("no nanny" in notice for notice in observer.notices)
    assert check_samples(tmp_path / "train") == []


@pytest.mark.slow
def test_a_scheduler_that_is_killed_and_started_again_costs_no_round(
    train_tiny: Train, tmp_path: Path
) -> None:
    expected = train_tiny(task="Slow", folder=tmp_path / "unbroken")
    cluster = ClusterProcesses(tmp_path)
    try:
        cluster.start_scheduler(for_ever=True)
        for name in ("w0", "w1"):
            cluster.start_worker(name, for_ever=True)
        observer = Watching(lambda: os.kill(cluster.scheduler_process_id(), signal.SIGKILL), after_round=1)
        with DaskEngine(address=cluster.address, num_needed=2) as engine:
            result = train_tiny(
                task="Slow", folder=tmp_path / "killed", engine=engine, observer=observer, max_attempts=20
            )
    finally:
        cluster.close()

    assert_same_model(result, expected)
    assert check_samples(tmp_path / "killed") == []
    assert any("went away; waiting for it" in notice for notice in observer.notices)
    assert any("is there again" in notice for notice in observer.notices)


@pytest.mark.slow
def test_learner_coordinator_and_scheduler_killed_in_one_run_leave_no_trace_in_the_model(
    train_tiny: Train, tmp_path: Path
) -> None:
    expected = train_tiny(task="Slow", folder=tmp_path / "unbroken", rounds=8, max_attempts=30)
    cluster, folder = ClusterProcesses(tmp_path), tmp_path / "killed"
    rounds = folder / "rounds.jsonl"
    options = ["rounds=8", "max_attempts=30", "learners=2", f"engine={cluster.address}"]
    command = [sys.executable, COMMAND, folder, "Slow"]
    command += [word for option in options for word in ("--set", f"train.{option}")]

    def num_rounds() -> int:
        return len(rounds.read_text().splitlines()) if rounds.exists() else 0

    try:
        cluster.start_scheduler(for_ever=True)
        workers = [cluster.start_worker(name, for_ever=True) for name in ("w0", "w1")]
        with subprocess.Popen(command) as coordinator:
            await_true(lambda: num_rounds() >= 1)
            os.kill(worker_process_of(workers[1].pid), signal.SIGKILL)
            await_true(lambda: num_rounds() >= 3)
            coordinator.kill()
        with subprocess.Popen(command) as coordinator:
            await_true(lambda: num_rounds() >= 5)
            os.kill(cluster.scheduler_process_id(), signal.SIGKILL)
            assert coordinator.wait(timeout=120) == 0
    finally:
        cluster.close()

    result = json.loads((folder / "result.json").read_text())
    assert result["rounds"] == 8
    a, b = (safetensors.torch.load_file(path) for path in (result["model_path"], expected.model_path))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert check_samples(folder) == []


def worker_process_of(process_id: int) -> int:
    """The process that a nanny below this one started: the last of the line, and no resource tracker."""
    for child in psutil.Process(process_id).children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            return int(child.pid)
    raise AssertionError(f"process {process_id} has no worker below it")


def test_a_scheduler_that_does_not_return_ends_the_training_and_keeps_the_checkpoint(
    train_tiny: Train, tmp_path: Path
) -> None:
    cluster = ClusterProcesses(tmp_path)
    try:
        cluster.start_scheduler()
        cluster.start_worker("w0")
        observer = Watching(lambda: os.kill(cluster.scheduler_process_id(), signal.SIGKILL), after_round=1)
        with (
            DaskEngine(address=cluster.address, reconnect_seconds=0.5) as engine,
            pytest.raises(SchedulerLostError, match="ayni resume"),
        ):
            train_tiny(task="Slow", folder=tmp_path / "t", engine=engine, observer=observer, learners=1)
    finally:
        cluster.close()

    resumed = train_tiny(task="Slow", folder=tmp_path / "t", learners=1)
    assert resumed.rounds == 3


def make_certificate(
    folder: Path, name: str, *, authority: tuple[Path, Path] | None = None
) -> tuple[Path, Path]:
    """A certificate and its key as PEM files, signed by an authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = subject, key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(authority[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return paths


def test_a_tls_cluster_trains_and_refuses_strangers(
    train_tiny: Train, tmp_path: Path, config: Callable[..., object]
) -> None:
    authority = make_certificate(tmp_path, "authority")
    member = make_certificate(tmp_path, "member", authority=authority)
    stranger = make_certificate(tmp_path, "stranger")
    own = TlsConfig(ca_file=str(authority[0]), certificate_file=str(member[0]), key_file=str(member[1]))
    foreign = TlsConfig(
        ca_file=str(stranger[0]), certificate_file=str(stranger[0]), key_file=str(stranger[1])
    )
    missing = TlsConfig(ca_file="/no/ca.pem", certificate_file=str(member[0]), key_file=str(member[1]))
    options = ["--tls-ca-file", own.ca_file, "--tls-cert", own.certificate_file, "--tls-key", own.key_file]
    cluster = ClusterProcesses(tmp_path, options=options, protocol="tls")
    try:
        cluster.start_scheduler()
        cluster.start_worker("w0")
        settings = config(engine=cluster.address, tls=own, learners=1)
        with make_engine(settings) as engine:  # type: ignore[arg-type]
            result = train_tiny(engine=engine, learners=1)
        with pytest.raises(SchedulerRefusedError, match="same authority"):
            DaskEngine(address=cluster.address, tls=foreign).__enter__()
        with pytest.raises(CertificateFileError, match=r"tls\.ca_file: /no/ca\.pem"):
            DaskEngine(address=cluster.address, tls=missing).__enter__()
    finally:
        cluster.close()

    assert result.rounds == 3
