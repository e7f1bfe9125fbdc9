"""Seal a finished run: a signed list of the hashes of its files, so that a change of one byte shows."""

from pathlib import Path
from typing import Any

from ayni.files import read_json, sha256_of_file, write_json
from ayni.jobs.runs import Run
from ayni.signing import SigningKey, sign_record

MANIFEST_FILE = "manifest.json"
SCHEMA = "ayni/manifest/1"
# What goes on changing, and the manifest itself.
UNSEALED = ("lock", "status.json", MANIFEST_FILE)


def sealed_files(folder: Path) -> list[str]:
    """The files of a run that a manifest covers, as sorted relative paths."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name not in UNSEALED)


def is_sealed(run: Run) -> bool:
    """Whether the run's manifest is written: nothing in its folder may change any more."""
    return (run.folder / MANIFEST_FILE).exists()


def seal_run(run: Run, key: SigningKey) -> None:
    """Write the manifest of a run whose steps are all finished."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run.id,
        "files": {name: sha256_of_file(run.folder / name) for name in sealed_files(run.folder)},
        "published": _published_files(run),
    }
    write_json(run.folder / MANIFEST_FILE, sign_record(body, key))


def _published_files(run: Run) -> dict[str, Any] | None:
    """Where the published files are and their hashes; None when nothing was published."""
    result = run.result("publish")
    if result is None or "folder" not in result:
        return None
    folder = Path(result["folder"])
    files = {
        path.relative_to(folder).as_posix(): sha256_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {
        "repository": result["repository"],
        "revision": result["revision"],
        "folder": str(folder),
        "files": files,
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run; None while the run is not sealed."""
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    manifest: dict[str, Any] = read_json(path)
    return manifest
