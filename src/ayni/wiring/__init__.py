"""The composition root: settings become concrete objects (`installation`), and the public functions use them.

The only place where concrete things meet. Heavy libraries are imported inside the functions that need
them, so that `ayni verify` and `ayni runs` work with the light install.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, UserError
from ayni.settings import read_settings
from ayni.wiring.extras import require_modules
from ayni.wiring.installation import Installation
from ayni.workflows.progress import Approve, Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.jobs.loading import Job
    from ayni.jobs.runs import Run
    from ayni.workflows.compress_job import CompressRequest, WrittenJob


class NoReportError(UserError):
    """The run has no report yet."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"The run {run} has no report yet. Finish it with: ayni resume {run}")


def run(
    job: str | Path,
    *,
    overrides: Sequence[str] = (),
    yes: bool = False,
    home: Path | None = None,
    progress: Progress | None = None,
    approve: Approve | None = None,
) -> dict[str, Any]:
    """Run a job from its file to its report; returns the run object (docs/run-object.md).

    Args:
        job: path of job.yaml.
        overrides: each `key=value`, such as "train.rounds=5".
        yes: go beyond the job's limits without asking.
        home: folder of all state; AYNI_HOME by default.
        progress: sees what happens; nothing by default.
        approve: asked before a limit is exceeded; refuses by default.

    Raises:
        UserError: something in the job, the task or the machine's set-up that the caller can mend.
        AyniError: anything else that went wrong; what was finished is kept, see `resume`.
            Whatever stops the run, KeyboardInterrupt too, has its id as the attribute `stopped_run`.
    """
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    progress.started("load", total=None)
    loaded = _load_job(job, overrides)
    require_modules(loaded)
    progress.finished("load", text=f"{loaded.path.name}, task {loaded.spec.task}, seed {loaded.spec.seed}")
    begun = installation.runs.create(loaded)
    try:
        with _stopped_run_named(begun):
            return _work_on(begun, installation, progress, approve, yes=yes)
    except UserError:
        # Refused before any work was done: there is nothing to resume, and nothing to look at.
        if begun.result("plan") is None or not (begun.folder / "train").exists():
            runs_remove(begun.id, home=home)
        raise


def resume(
    run: str,
    *,
    overrides: Sequence[str] = (),
    yes: bool = False,
    home: Path | None = None,
    progress: Progress | None = None,
    approve: Approve | None = None,
) -> dict[str, Any]:
    """Go on with a run that was stopped, from its last finished round or step; returns the run object.

    `run` is an id, the beginning of one, or "latest". A finished run is returned as it is.
    `overrides` replace values of its job below compress, explain, limits and publish, each as long as its
    step is not finished: so a mistake there does not cost the training. Keys such as train.engine, which
    say where the rest is trained, may change too.

    Raises:
        RunNotFoundError, RunIsBusyError, TaskChangedError: there is nothing to go on with, or not now.
        FrozenKeyError: an override concerns what is done.
    """
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    found = installation.runs.open(run)
    with _stopped_run_named(found):
        if overrides:
            _amend(found, overrides)
        elif found.status == "finished":
            return _view(found)
        progress.started("load", total=None)
        require_modules(found.job)
        progress.finished("load", text=f"run {found.id}, {found.status}")
        return _work_on(found, installation, progress, approve, yes=yes)


def plan(
    job: str | Path,
    *,
    overrides: Sequence[str] = (),
    home: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Where and when a job would run and what it would cost, without starting it.

    Returns the plan as JSON values: rows, totals, offer, limits, violations, risks.
    """
    progress = progress or SilentProgress()
    progress.started("load", total=None)
    loaded = _load_job(job, overrides)
    require_modules(loaded)
    progress.finished("load", text=f"{loaded.path.name}, task {loaded.spec.task}")
    from ayni.workflows.plan_job import plan_job

    progress.started("plan", total=None)
    found = plan_job(loaded, Installation(read_settings(home=home)).house)
    progress.finished("plan", text="done")
    return found.to_json()


def compress(
    request: "CompressRequest",
    *,
    yes: bool = False,
    home: Path | None = None,
    progress: Progress | None = None,
    approve: Approve | None = None,
) -> dict[str, Any]:
    """Write the job that compresses a trained model, and run it; returns the run object.

    What is refused before any work is done leaves neither a run nor a job behind.

    Raises:
        UserError: model, task or options cannot be used, see `ayni.workflows.compress_job`; and as `run`.
    """
    installation = Installation(read_settings(home=home))
    written = _write_compress_job(request, installation)
    try:
        return run(written.path, yes=yes, home=home, progress=progress, approve=approve)
    except UserError as error:
        if getattr(error, "stopped_run", None) not in [found.id for found in installation.runs.list()]:
            written.remove()
        raise


def compress_plan(
    request: "CompressRequest", *, home: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the job that compresses a trained model, and plan it: {"job": path, "plan": see `plan`}.

    Raises:
        UserError: as `compress`; then no job is left behind.
    """
    written = _write_compress_job(request, Installation(read_settings(home=home)))
    try:
        found = plan(written.path, home=home, progress=progress)
    except UserError:
        written.remove()
        raise
    return {"job": str(written.path), "plan": found}


def compress_show(run: str, home: Path | None = None) -> dict[str, Any]:
    """The variants of a run with all that was measured of them; keys: docs/compress-command.md."""
    from ayni.workflows.compress_result import compression_of

    return compression_of(Installation(read_settings(home=home)).runs.open(run))


def compress_compare(
    first: str, second: str, third: str | None = None, home: Path | None = None
) -> dict[str, Any]:
    """Two variants side by side: (run, variant, variant), or (run, run) for the chosen ones of both."""
    from ayni.workflows.compress_result import compare_variants

    return compare_variants(Installation(read_settings(home=home)).runs, first, second, third)


def load(
    repository: str, *, variant: str = "full", revision: str | None = None, home: Path | None = None
) -> Any:
    """A published model: a torch module in evaluation mode or a Keras model; or one of its variants.

    A variant is called as the model is called, whatever runs it. The full model and packed weights import the
    task's code from the repository: load only what you trust.

    Args:
        repository: "namespace/name", or the name alone where it is unique.
        variant: a name that `config.json` lists, such as "int8".
        revision: a commit id or its beginning; the newest by default.
        home: folder of all state; AYNI_HOME by default.
    """
    snapshot = Installation(read_settings(home=home)).shared_hub.find(repository, revision)
    if variant == "full":
        from ayni.hub.loading import load_model

        return load_model(snapshot)
    from ayni.workflows.load_variant import load_variant

    return load_variant(snapshot, variant)


def predict(
    repository: str,
    files: Sequence[str | Path],
    *,
    revision: str | None = None,
    variant: str | None = None,
    home: Path | None = None,
) -> list[dict[str, Any]]:
    """Answers of a published variant (the chosen one by default) to files (.npy, .json, .txt, .png, .jpg)."""
    from ayni.hub.prediction import predict as predict_files

    def load_other(of: Any, name: str) -> Any:
        from ayni.workflows.load_variant import load_variant

        return load_variant(of, name)

    snapshot = Installation(read_settings(home=home)).shared_hub.find(repository, revision)
    return predict_files(snapshot, [Path(file) for file in files], variant, load_variant=load_other)


def verify(run: str | Path, *, home: Path | None = None) -> dict[str, Any]:
    """Check a run from its files alone: {"run", "ok", "key", "checks": [{"name", "ok", "detail"}]}.

    `run` is an id, the beginning of one, "latest", or the path of a run's folder. A run of this home must
    be signed by this home's key, however it is named; a folder from elsewhere by the key that its manifest
    names. `key` says which: {"public_key", "of": "home" or "manifest"}.
    """
    from ayni.workflows.verify_run import verify as verify_folder

    settings = read_settings(home=home)
    installation = Installation(settings)
    folder = Path(run)
    if not (folder / "job.json").is_file():
        folder = installation.runs.open(str(run)).folder
    is_own = folder.resolve().parent == settings.runs_folder.resolve()
    key = installation.public_key if is_own else None
    return verify_folder(folder, expected_public_key=key, is_own=is_own).to_json()


def verify_footprint(
    files: Sequence[Path], *, keys: Sequence[str] = (), home: Path | None = None
) -> dict[str, Any]:
    """Check receipts and windows from files alone; keys of the answer: docs/verify.md.

    `keys` are public keys, or files of them, one of which must have signed each receipt. Without any it is
    only said who vouches for the signers: this home for its own.

    Raises:
        NoEvidenceError: a path does not exist, or holds neither receipts nor windows.
        BadPublicKeyError: one of `keys` is neither a key nor a file of them.
    """
    from ayni.workflows import verify_footprint as workflow

    home_key = Installation(read_settings(home=home)).public_key
    return workflow.verify_footprint(files, keys=keys, home_key=home_key).to_json()


def runs_list(home: Path | None = None) -> list[dict[str, Any]]:
    """A summary of each run, the newest first."""
    return [found.summary() for found in Installation(read_settings(home=home)).runs.list()]


def runs_show(run: str, home: Path | None = None) -> dict[str, Any]:
    """The run object of one run, as far as it got."""
    return _view(Installation(read_settings(home=home)).runs.open(run))


def train_status(run: str, home: Path | None = None) -> dict[str, Any]:
    """What the training of a run is at (keys: docs/training.md). Takes no lock and imports nothing heavy."""
    from ayni.workflows.watch_training import training_status

    found = Installation(read_settings(home=home)).runs.open(run)
    return training_status(found, now=datetime.now(UTC))


def train_privacy(home: Path | None = None) -> list[dict[str, Any]]:
    """What private trainings told about each data set: keys in docs/privacy.md."""
    database = Installation(read_settings(home=home)).database
    from ayni.train.privacy_ledger import PrivacyLedger

    return [account.to_json() for account in PrivacyLedger(database).accounts()]


def runs_report_path(run: str, home: Path | None = None) -> Path:
    """Where the report of a run is.

    Raises:
        NoReportError: the run has not come so far.
    """
    from ayni.workflows.report_run import report_path

    found = Installation(read_settings(home=home)).runs.open(run)
    path = report_path(found)
    if path is None:
        raise NoReportError(found.id)
    return path


def runs_remove(run: str, home: Path | None = None) -> None:
    """Delete a run's folder; what it published and settled stays.

    An unfinished run pays for the steps that it finished, and the rest of its credits goes back.
    """
    from ayni.jobs.runs import DamagedRunError
    from ayni.workflows.settle_job import abandon_job

    installation = Installation(read_settings(home=home))
    found = installation.runs.open(run)
    # A run whose files cannot be read has nothing to settle by; removing it must be possible all the same.
    with suppress(DamagedRunError), found.lock():
        if found.result("plan") is not None:
            abandon_job(found, installation.house)
    installation.runs.remove(found.id)
    shutil.rmtree(installation.spill_folder / found.id, ignore_errors=True)


def _work_on(
    found: "Run", installation: Installation, progress: Progress, approve: Approve | None, *, yes: bool
) -> dict[str, Any]:
    with found.lock(), _status_kept(found):
        # Imported under the lock: it takes seconds, in which the run would look interrupted.
        from ayni.workflows.run_job import run_job

        found.check_task_unchanged()
        run_job(found, installation.house, progress=progress, approve=approve, yes=yes)
    return _view(found)


def _amend(found: "Run", overrides: Sequence[str]) -> None:
    from ayni.workflows.amend_job import amend_job

    with found.lock():
        found.check_task_unchanged()
        amend_job(found, overrides)


@contextmanager
def _stopped_run_named(found: "Run") -> Iterator[None]:
    """Whoever shows what stopped a run must know which: another process may have begun a newer one."""
    try:
        yield
    except BaseException as error:
        error.stopped_run = found.id  # type: ignore[attr-defined]
        raise


@contextmanager
def _status_kept(found: "Run") -> Iterator[None]:
    """Record what becomes of the run, whatever does; an error that stops it goes on to the caller."""
    found.set_status("running")
    try:
        yield
    except KeyboardInterrupt:
        found.set_status("interrupted")
        raise
    except Exception as error:
        # The disk may be what failed: then the status stays "running", which reads as interrupted.
        try:
            found.set_status("failed", error=str(error) or type(error).__name__)
        except (AyniError, OSError) as second:
            error.add_note(f"Its status could not be written either: {second}")
        raise
    found.set_status("finished")


def _view(found: "Run") -> dict[str, Any]:
    from ayni.workflows.report_run import view_of

    return view_of(found)


def _write_compress_job(request: "CompressRequest", installation: Installation) -> "WrittenJob":
    from ayni.workflows.compress_job import write_compress_job

    return write_compress_job(request, hub=installation.shared_hub, runs=installation.runs)


def _load_job(job: str | Path, overrides: Sequence[str]) -> "Job":
    from ayni.jobs.loading import load_job

    return load_job(Path(job), overrides)
