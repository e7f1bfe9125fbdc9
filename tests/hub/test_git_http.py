"""Imports over http from `git http-backend`, git's own server, and from servers that mean harm."""

import http.server
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("dulwich")

from tests.hub.stocked_hub import StockedHub, stocked_hub
from tests.hub.test_git_import import bring, git, project, read

from ayni.hub.git_http import is_public
from ayni.hub.git_import import GitUrlError, TooLargeImportError, fetch

__all__ = ["project", "stocked_hub"]


def _has_backend() -> bool:
    if shutil.which("git") is None:
        return False
    found = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    return (Path(found) / "git-http-backend").exists()


pytestmark = pytest.mark.skipif(not _has_backend(), reason="git http-backend is not installed")


class Backend(http.server.BaseHTTPRequestHandler):
    """`git http-backend` behind Python's own server, with ways to be a bad one."""

    root: ClassVar[Path]
    redirects_to: ClassVar[str]
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", self.redirects_to + self.path.removeprefix("/away"))
            self.end_headers()
        elif self.path.startswith("/endless/"):
            self._endless()
        elif self.path.startswith("/files/"):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"a" * 40 + b"\trefs/heads/main\n")
        else:
            self._git(b"")

    def do_POST(self) -> None:
        self._git(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        self.wfile.write(b"001e# service=git-upload-pack\n0000")
        number = 0
        try:
            while True:
                line = b"%040x refs/heads/%d\n" % (number, number)
                self.wfile.write(b"%04x" % (len(line) + 4) + line)
                number += 1
        except OSError:
            return

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environ, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@pytest.fixture
def server(project: Path) -> Iterator[str]:
    """The address of a server that has `project`, at 127.0.0.1."""

    class Here(Backend):
        root = project.parent

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as listening:
        Here.redirects_to = f"http://localhost:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_a_commit_comes_over_http_with_where_it_is_from(
    server: str, project: Path, stocked_hub: StockedHub
) -> None:
    url = f"{server}/project"

    done = bring(url, "main", stocked_hub)

    files, head = read(stocked_hub), git(project, "rev-parse", "HEAD")
    assert files["sub/data.bin"] == (project / "sub" / "data.bin").read_bytes()
    assert f"url: '{url}'\n  commit: {head}\n" in files["README.md"].decode()
    assert done.commit == head and done.is_new  # type: ignore[attr-defined]
    assert not bring(url, head, stocked_hub).is_new  # type: ignore[attr-defined]
    assert stocked_hub.check().is_sound


def test_only_one_commit_crosses_the_network(server: str, project: Path) -> None:
    first = git(project, "rev-parse", "v1")

    with fetch(f"{server}/project", "main", max_bytes=10**7) as fetched:
        assert first.encode() not in fetched.store
        assert fetched.commit.encode() in fetched.store


@pytest.mark.parametrize("path", ["project", "endless/project"])
def test_more_bytes_than_allowed_end_it_wherever_they_come(
    server: str, stocked_hub: StockedHub, path: str
) -> None:
    with pytest.raises(TooLargeImportError, match="Nothing was kept"):
        bring(f"{server}/{path}", None, stocked_hub, max_bytes=20_000)

    assert list(stocked_hub.objects.list()) == []


def test_a_redirect_to_a_private_address_is_followed_only_where_it_is_allowed(server: str) -> None:
    url = f"{server}/away/project"

    with pytest.raises(GitUrlError, match="private network"), fetch(url, None, max_bytes=10**7):
        pass
    with fetch(url, None, max_bytes=10**7, allows_private=True) as fetched:
        assert fetched.files


def test_a_server_of_plain_files_and_one_that_is_gone_are_told(server: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/x"

    for url, reason in {
        f"{server}/files/project": "does not speak the protocol",
        f"{server}/none": "could not be fetched",
        nobody: "could not be fetched",
    }.items():
        with pytest.raises(GitUrlError, match=reason), fetch(url, None, max_bytes=10**7):
            pass


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_private_addresses_are_known(address: str, public: bool) -> None:
    assert is_public(address) is public
