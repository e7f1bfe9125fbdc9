"""The recipes of docs/clusters.md, each with the real thing where that can run in a test.

Kubernetes and YARN cannot: their files are only read, and compared with what a cluster needs.
"""

import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ayni.train.result import TrainResult

from .cluster_processes import await_true, free_port, is_listening

RECIPES = Path(__file__).parents[2] / "examples" / "clusters"
COMMAND = Path(__file__).with_name("cluster_command.py")

Train = Callable[..., TrainResult]


@contextlib.contextmanager
def running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A process of its own group for the time of the block; whatever it started ends with it."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[str]:
    """An SSH daemon of our own on the loopback interface, and the command that reaches it."""
    daemon = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if daemon is None or shutil.which("ssh") is None:
        pytest.skip("needs openssh-server: dev/install_system_packages")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    port = free_port()
    configuration = tmp_path / "sshd_config"
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\n"
        f"AuthorizedKeysFile {tmp_path}/user_key.pub\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\n"
    )
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    with running([daemon, "-D", "-e", "-f", str(configuration)], tmp_path / "sshd.log"):
        await_true(lambda: is_listening(port))
        yield f"ssh -p {port} -i {tmp_path}/user_key -o IdentitiesOnly=yes {options}"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Slurm cluster of one node; yields the environment in which sbatch finds it."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    daemons = {name: shutil.which(name, path=path) for name in ("slurmctld", "slurmd")}
    if None in daemons.values() or shutil.which("sbatch") is None or os.geteuid() != 0:
        pytest.skip("needs slurm-wlm (dev/install_system_packages), and root for its daemons")
    configuration = tmp_path / "slurm.conf"
    ports = free_port(), free_port()
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    configuration.write_text(
        f"ClusterName=test\nSlurmctldHost=localhost\nSlurmctldPort={ports[0]}\nSlurmdPort={ports[1]}\n"
        "AuthType=auth/none\nCredType=cred/none\nSlurmUser=root\nSlurmdUser=root\nMpiDefault=none\n"
        f"StateSaveLocation={tmp_path}/state\nSlurmdSpoolDir={tmp_path}/spool\n"
        f"SlurmctldPidFile={tmp_path}/ctld.pid\nSlurmdPidFile={tmp_path}/d.pid\n"
        "ProctrackType=proctrack/pgid\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n"
        "KillWait=2\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nSwitchType=switch/none\n"
        "SlurmdParameters=config_overrides\nNodeName=localhost CPUs=4 State=UNKNOWN\n"
        "PartitionName=all Nodes=localhost Default=YES State=UP\n"
    )
    environment = {"SLURM_CONF": str(configuration)}

    def is_idle() -> bool:
        command = ["sinfo", "--noheader", "--format=%T"]
        found = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        return found.stdout.strip() == "idle"

    controller = [str(daemons["slurmctld"]), "-D", "-f", str(configuration)]
    node = [str(daemons["slurmd"]), "-D", "-N", "localhost", "-f", str(configuration)]
    with running(controller, tmp_path / "ctld.log"), running(node, tmp_path / "d.log"):
        await_true(is_idle)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--me"], env={**os.environ, **environment}, check=False)
            # A step's daemon goes on for ever if it cannot tell the controller how its step ended. Each has
            # a socket here as long as it lives.
            await_true(lambda: not list((tmp_path / "spool").glob("localhost_*")))


@pytest.mark.cluster
@pytest.mark.slow
def test_the_ssh_recipe_trains_and_leaves_no_process_behind(
    train_tiny: Train, tmp_path: Path, ssh: str
) -> None:
    expected = train_tiny(folder=tmp_path / "in-process")
    folder = tmp_path / "ssh"
    folder.mkdir()
    user = pwd.getpwuid(os.geteuid()).pw_name
    host = f"{user}@127.0.0.1"

    done = subprocess.run(
        [RECIPES / "ssh.sh", "127.0.0.1", host, host, "--", sys.executable, COMMAND, folder],
        env={**os.environ, "SSH": ssh, "PYTHON": sys.executable, "PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"] == expected.metrics
    assert result["num_learners"] == 2
    await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in result["worker_process_ids"]))


@pytest.mark.cluster
@pytest.mark.slow
def test_the_slurm_recipe_trains(train_tiny: Train, tmp_path: Path, slurm: dict[str, str]) -> None:
    expected = train_tiny(folder=tmp_path / "in-process")
    folder = tmp_path / "slurm"
    folder.mkdir()

    # Without --wait, which asks at growing intervals.
    subprocess.run(
        [
            *("sbatch", "--ntasks=2", f"--output={folder}/log", RECIPES / "slurm.sh"),
            *(sys.executable, COMMAND, folder),
        ],
        env={
            **os.environ,
            **slurm,
            "PYTHON": sys.executable,
            "PORT": str(free_port()),
            "DASK_CONFIG": str(RECIPES / "dask.yaml"),
        },
        check=True,
    )
    await_true((folder / "result.json").exists, seconds=120)

    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"] == expected.metrics
    await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in result["worker_process_ids"]))


def parse_dask_command(words: list[str]) -> None:
    """Have Dask's own command line read the words after `python -m dask`."""
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    program = {"scheduler": scheduler, "worker": worker}[words[0]]
    program.make_context("dask", words[1:])


def keys_of(settings: dict[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict) and name != "pre-spawn-environ":
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_for_dasks_processes_is_one_that_dask_has() -> None:
    import dask
    import distributed

    assert distributed.__version__
    defaults = dask.config.collect(paths=[], env={})
    known = dask.config.merge(*dask.config.defaults, defaults)

    for key in keys_of(yaml.safe_load((RECIPES / "dask.yaml").read_text())):
        missing = object()
        assert dask.config.get(key, default=missing, config=known) is not missing, key


def test_the_commands_of_the_kubernetes_recipe_are_ones_that_dask_understands() -> None:
    documents = list(yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text()))
    commands = [
        container["command"]
        for document in documents
        if document["kind"] == "Deployment"
        for container in document["spec"]["template"]["spec"]["containers"]
    ]

    for command in commands:
        assert command[:3] == ["python", "-m", "dask"]
        parse_dask_command(command[3:])

    assert {command[3] for command in commands} == {"scheduler", "worker"}


def test_the_parts_of_the_kubernetes_recipe_find_each_other() -> None:
    documents = {
        (document["kind"], document["metadata"]["name"]): document
        for document in yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    }
    service = documents["Service", "scheduler"]["spec"]
    scheduler = documents["Deployment", "scheduler"]["spec"]
    worker = documents["Deployment", "worker"]["spec"]
    job = documents["Job", "ayni"]["spec"]["template"]["spec"]

    port = service["ports"][0]["port"]
    assert service["selector"] == scheduler["template"]["metadata"]["labels"]
    assert str(port) in scheduler["template"]["spec"]["containers"][0]["command"]
    assert f"tcp://scheduler:{port}" in worker["template"]["spec"]["containers"][0]["command"]
    assert f"train.engine=tcp://scheduler:{port}" in job["containers"][0]["args"][0]
    assert f"train.learners={worker['replicas']}" in job["containers"][0]["args"][0]
    for deployment in (scheduler, worker):
        assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    for pod in (worker["template"]["spec"], job):
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes
    images = {pod["containers"][0]["image"] for pod in (scheduler["template"]["spec"], job)}
    assert len(images) == 1
    allowed = documents["NetworkPolicy", "ayni-only"]["spec"]["podSelector"]["matchLabels"]
    assert allowed.items() <= worker["template"]["metadata"]["labels"].items()


def test_the_command_of_the_yarn_recipe_is_one_that_dask_understands() -> None:
    service = json.loads((RECIPES / "yarn-service.json").read_text())
    [component] = service["components"]

    words = shlex.split(component["launch_command"])

    assert words[1:3] == ["-m", "dask"]
    parse_dask_command(words[3:])
    assert {"name", "version", "components"} <= service.keys()
    assert {"name", "number_of_containers", "launch_command", "resource"} <= component.keys()


@pytest.mark.parametrize("script", ["ssh.sh", "slurm.sh"])
def test_the_shell_recipes_can_be_read_by_bash_and_say_how_they_are_called(script: str) -> None:
    subprocess.run(["bash", "-n", RECIPES / script], check=True)

    assert os.access(RECIPES / script, os.X_OK)
    assert f"examples/clusters/{script}" in (RECIPES / script).read_text()
