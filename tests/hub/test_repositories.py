import json
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.hub.hub_rows import WHEN
from tests.hub.stored_files import files_in

from ayni.database import Database
from ayni.hub.commits import CollidingContentError, CommitHooks, CommitRequest, Committed
from ayni.hub.git_objects import LFS_ABOVE_BYTES
from ayni.hub.names import FilePathError, RepositoryNameError
from ayni.hub.repositories import (
    AmbiguousRepositoryError,
    LocalHub,
    Published,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from ayni.hub.snapshots import DamagedFileError, DamagedObjectError
from ayni.hub.sources import UnreadableSourceError
from ayni.objects import ObjectStore

CRASHER = Path(__file__).parent / "die_at_every_write.py"


def test_what_was_published_lies_there_as_plain_files(hub_folder: Any, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 100)

    published = hub_folder.publish(
        {"README.md": b"# hi\n", "model.safetensors": weights, "receipts/1.json": b"{}"}
    )

    place = hub_folder.folder / "models/me/digits"
    assert published.folder == place / "snapshots" / published.revision
    assert (place / "refs/main").read_text() == published.revision
    assert (published.folder / "model.safetensors").read_bytes() == b"w" * 100
    assert (published.folder / "receipts/1.json").read_bytes() == b"{}"
    assert "*.safetensors filter=lfs" in (published.folder / ".gitattributes").read_text()


def test_a_revision_has_the_id_of_the_commit_that_git_would_make(hub_folder: Any, tmp_path: Path) -> None:
    large = b"x" * (LFS_ABOVE_BYTES + 1)
    files = {
        "README.md": b"# hi\n",
        "model.onnx": b"w" * 9,
        "a/\u00e9/deep": b"1",
        "a.b": b"",
        "large file": large,
    }
    first = hub_folder.publish({"README.md": b"# first\n"})
    second = hub_folder.publish(files, minute=1)

    # git itself, from the plain files; a clean filter stands in for git-lfs.
    scratch = tmp_path / "scratch"
    pointer = (
        "import sys,hashlib as h;d=sys.stdin.buffer.read();print('version https://git-lfs.github.com/spec/v1\\n"
        "oid sha256:'+h.sha256(d).hexdigest()+'\\nsize',len(d))"
    )
    ids = []
    for published, minute in ((first, 6), (second, 7)):
        ids.append(_commit_with_git(scratch, published.folder, pointer, f"2026-03-04T05:0{minute}:07+0000"))

    assert ids == [first.revision, second.revision]


def _commit_with_git(scratch: Path, folder: Path, pointer: str, date: str) -> str:
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(scratch), "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "Ada Lovelace", f"GIT_{who}_EMAIL": "Ada-Lovelace@users.invalid"}
        environment |= {f"GIT_{who}_DATE": date}

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=scratch, env=environment, capture_output=True, check=True, text=True
        )
        return done.stdout.strip()

    scratch.mkdir(exist_ok=True)
    git("init", "-q")
    git("config", "filter.lfs.clean", f'"{sys.executable}" -c "{pointer}"')
    for old in scratch.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(folder, scratch, dirs_exist_ok=True)
    git("add", "-A")
    git("commit", "-q", "-m", "Publish")
    return git("rev-parse", "HEAD")


def test_each_publication_is_a_new_revision_on_top_of_the_one_before(hub_folder: Any) -> None:
    first = hub_folder.publish({"a": b"1"})
    second = hub_folder.publish({"a": b"1"})

    assert hub_folder.hub.revisions("me/digits") == [second.revision, first.revision]
    assert hub_folder.hub.commit("me/digits", second.revision).parent == first.revision
    assert hub_folder.hub.find("digits").revision == second.revision
    assert hub_folder.hub.find("digits", first.revision[:7]).folder == first.folder


def test_a_resumed_publication_makes_no_second_revision(hub_folder: Any) -> None:
    first = hub_folder.publish({"a": b"1"}, publish_key="run-1")
    again = hub_folder.publish({"a": b"2"}, publish_key="run-1", minute=5)
    other = hub_folder.publish({"a": b"2"}, publish_key="run-2", minute=6)

    assert (again.revision, again.is_new) == (first.revision, False)
    assert hub_folder.hub.revisions("digits") == [other.revision, first.revision]


def test_the_same_content_and_time_give_the_same_revision_in_another_repository(hub_folder: Any) -> None:
    first = hub_folder.publish({"a": b"1"}, repository="me/one")
    second = hub_folder.publish({"a": b"1"}, repository="me/two")

    assert first.revision == second.revision


def test_a_result_survives_json(hub_folder: Any) -> None:
    published = hub_folder.publish({"a": b"1"})

    assert Published.from_json(json.loads(json.dumps(published.to_json()))) == published


@pytest.mark.parametrize("repository", ["../x", "me/../../x", "/abs/x", "digits"])
def test_a_repository_cannot_leave_the_folder(hub_folder: Any, repository: str) -> None:
    with pytest.raises(RepositoryNameError):
        hub_folder.publish({"a": b"1"}, repository=repository)

    assert not (hub_folder.folder / "models").exists()
    with pytest.raises(RepositoryNotFoundError):
        hub_folder.hub.find(repository)


@pytest.mark.parametrize("path", ["/etc/ayni", "../../outside", "a/../../b", ".git/config", ".gitattributes"])
def test_a_file_cannot_leave_its_snapshot(hub_folder: Any, path: str) -> None:
    with pytest.raises(FilePathError):
        hub_folder.publish({"ok": b"1", path: b"2"})

    assert not (hub_folder.folder / "models").exists()


def test_a_missing_file_publishes_nothing(hub_folder: Any, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="is not a file"):
        hub_folder.publish({"a": tmp_path / "missing"})

    assert hub_folder.hub.repositories() == []


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a file that claims to be empty")
def test_a_file_that_grows_while_it_is_read_publishes_nothing(hub_folder: Any) -> None:
    with pytest.raises(UnreadableSourceError, match="grew or shrank from 0"):
        hub_folder.publish({"a": Path("/proc/version")})

    assert hub_folder.hub.repositories() == []


def test_names_that_differ_by_case_are_refused(hub_folder: Any) -> None:
    hub_folder.publish({"a": b"1"}, repository="me/digits")

    with pytest.raises(RepositoryNameError, match="only the case"):
        hub_folder.publish({"a": b"1"}, repository="Me/Digits")


def test_an_unknown_repository_names_the_nearest(hub_folder: Any) -> None:
    with pytest.raises(RepositoryNotFoundError, match="Nothing was published"):
        hub_folder.hub.find("digits")
    hub_folder.publish({"a": b"1"})

    with pytest.raises(RepositoryNotFoundError, match="Did you mean me/digits"):
        hub_folder.hub.find("digts")


def test_a_name_in_two_namespaces_must_be_written_in_full(hub_folder: Any) -> None:
    hub_folder.publish({"a": b"1"}, repository="me/digits")
    hub_folder.publish({"a": b"1"}, repository="you/digits")

    with pytest.raises(AmbiguousRepositoryError, match="me/digits, you/digits"):
        hub_folder.hub.find("digits")
    assert hub_folder.hub.find("you/digits").repository == "you/digits"


@pytest.mark.parametrize("revision", ["0" * 40, "abc", "../main", "refs/heads/x", "", "%"])
def test_an_unknown_revision_names_those_that_are_there(hub_folder: Any, revision: str) -> None:
    published = hub_folder.publish({"a": b"1"})

    with pytest.raises(RevisionNotFoundError, match=published.revision[:12]):
        hub_folder.hub.find("digits", revision)


def test_a_lost_snapshot_is_written_again_from_the_objects(hub_folder: Any) -> None:
    published = hub_folder.publish({"a/b": b"1", "c": b"2"})
    shutil.rmtree(published.folder)

    snapshot = hub_folder.hub.find("digits")

    snapshot.verify()
    assert (snapshot.folder / "a/b").read_bytes() == b"1"


def test_a_changed_byte_is_found_and_mended_by_a_rebuild(hub_folder: Any) -> None:
    published = hub_folder.publish({"a": b"12345"})
    (published.folder / "a").write_bytes(b"12346")
    snapshot = hub_folder.hub.find("digits")
    with pytest.raises(DamagedFileError, match="was changed"):
        snapshot.verify()

    hub_folder.hub.rebuild("me/digits", published.revision).verify()

    assert (published.folder / "a").read_bytes() == b"12345"


def test_a_missing_or_planted_file_is_found(hub_folder: Any) -> None:
    published = hub_folder.publish({"a": b"1", "task.py": b""})
    (published.folder / "notes.txt").write_text("harmless")
    hub_folder.hub.find("digits").verify()
    (published.folder / "torch.py").write_text("raise SystemExit")

    with pytest.raises(DamagedFileError, match=r"torch\.py is not part"):
        hub_folder.hub.find("digits").verify()
    (published.folder / "torch.py").unlink()
    (published.folder / "a").unlink()
    with pytest.raises(DamagedFileError, match="is missing"):
        hub_folder.hub.find("digits").verify()


def test_a_damaged_object_is_never_handed_out(hub_folder: Any) -> None:
    published = hub_folder.publish({"a": b"12345"})
    for path in files_in(hub_folder.folder / "objects"):
        if path.read_bytes() == b"12345":
            path.write_bytes(b"54321")

    with pytest.raises(DamagedObjectError):
        hub_folder.hub.rebuild("me/digits", published.revision)

    assert (published.folder / "a").read_bytes() == b"12345"


def test_content_with_the_git_id_of_another_is_refused(hub_folder: Any) -> None:
    # The text of a pointer, published as a file, has the git id of the file that it points to.
    from ayni.hub.git_objects import lfs_pointer
    from ayni.signing import sha256_hex

    large = b"x" * (LFS_ABOVE_BYTES + 1)
    hub_folder.publish({"folder/large": large})

    with pytest.raises(CollidingContentError):
        hub_folder.publish({"folder/large": lfs_pointer(sha256_hex(large), len(large))})

    hub_folder.hub.find("digits").verify()


def test_publishers_at_the_same_time_make_one_chain(hub_folder: Any) -> None:
    def publish(number: int) -> None:
        hub_folder.publish({"a": str(number).encode()}, minute=number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    revisions = hub_folder.hub.revisions("digits")
    parents = [hub_folder.hub.commit("me/digits", revision).parent for revision in revisions]
    assert len(revisions) == 4
    assert parents == [*revisions[1:], None]


def test_the_time_zone_is_part_of_the_revision_and_is_kept(hub_folder: Any) -> None:
    published = hub_folder.publish({"a": b"1"})

    commit = hub_folder.hub.commit("me/digits", published.revision)

    assert commit.sha1 == published.revision
    assert commit.when.utcoffset() == timedelta()


@pytest.mark.slow
def test_a_crash_before_any_write_leaves_a_readable_revision(tmp_path: Path) -> None:
    # The child prints one line for each moment at which it was killed; see its docstring.
    done = subprocess.run(
        [sys.executable, str(CRASHER), str(tmp_path), "1"], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-2000:]
    moments = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(moments) > 30
    assert {moment["newest"] for moment in moments} == {"earlier", "new"}


def test_a_crash_at_some_writes_leaves_a_readable_revision(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CRASHER), str(tmp_path), "17"], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-2000:]


def test_hooks_look_at_publications_and_may_refuse_them(tmp_path: Path) -> None:
    seen: list[str] = []

    def refuse_pickles(_connection: object, _repository: object, request: CommitRequest) -> None:
        if "model.pkl" in request.changes:
            raise FilePathError("model.pkl", "no pickles here")

    def note(_connection: object, _repository: object, _request: object, committed: Committed) -> None:
        seen.append(committed.revision)

    database = Database(tmp_path / "ayni.db")
    hooks = CommitHooks(before=(refuse_pickles,), after=(note,))
    hub = LocalHub(database, ObjectStore(str(tmp_path / "objects")), tmp_path, hooks=hooks)

    published = hub.publish("me/x", {"a": b"1"}, message="m", author="a", when=WHEN)
    with pytest.raises(FilePathError, match="no pickles"):
        hub.publish("me/x", {"model.pkl": b"1"}, message="m", author="a", when=WHEN)

    assert seen == [published.revision] == hub.revisions("me/x")
    database.close()
