"""Where the files of a data set are: a folder or file here, any file system of fsspec, or a hub over HTTP.

    data/digits, data/flowers.csv                   this machine
    s3://bucket/set, hdfs://host/set, ...           fsspec, with the file system's own package
    https://hub.example.org/datasets/owner/name     a data set repository; `/tree/REVISION` behind it pins it
    hub:owner/name, hub:owner/name@REVISION         the same on the hub of AYNI_HUB_URL

The content hash of a source is the SHA-256 over its files in order: path, NUL, the file's own SHA-256 in hex,
newline. Whoever has the files can compute it with sha256sum.

Not covered: writing, and files that change while they are read.
"""

import hashlib
import importlib.util
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ayni.errors import MissingExtraError, UserError
from ayni.settings import read_settings

_HUB_PAGE = re.compile(r"(https?://.+?)/datasets/([^/@]+/[^/@]+?)(?:/tree/([^/]+)|@([^/]+))?/?")
_HUB_NAME = re.compile(r"hub:([^/@]+/[^/@]+?)(?:@(.+))?")
# The package that fsspec needs for a scheme, where pip has it under another name.
_PACKAGE_OF_SCHEME = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
    "oss": "ossfs",
    "hdfs": "hdfs-native",
}
_EXTRA_OF_PACKAGE = {"s3fs": "s3", "hdfs-native": "hdfs"}
_SECONDS = 60.0
_SECONDS_TO_CONNECT = 10.0


class NoSuchSourceError(UserError):
    """There are no data at the place that was named."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        super().__init__(
            f"There are no data at {source}: {reason}. A source is a file, a folder, a URL that fsspec "
            "knows, or a data set on a hub (hub:owner/name, or the address of its page)."
        )


class MissingFileSystemError(UserError):
    """A URL's file system needs a package that no extra of Ayni brings."""

    def __init__(self, url: str, package: str) -> None:
        self.package = package
        super().__init__(f"{url} needs the package {package!r}. Run: pip install {package}")


class FileTree(Protocol):
    """Files by their path below a root, with slashes; hidden files and folders are none."""

    @property
    def name(self) -> str:
        """What messages call the root."""
        ...

    def paths(self) -> list[str]:
        """All files, in order of their names. One file alone is called by its name."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFiles:
    """Files in memory, for tests and for what was fetched already."""

    name: str
    files: Mapping[str, bytes]

    def paths(self) -> list[str]:
        """All files, in order."""
        return sorted(self.files)

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return self.files[path]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """A folder, or one file."""

    root: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.root)

    def paths(self) -> list[str]:
        """All files, in order."""
        if self.root.is_file():
            return [self.root.name]
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if not _is_hidden(path.parts))

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return (self.root if self.root.is_file() else self.root / path).read_bytes()


class RemoteFiles:
    """Files below a URL of fsspec."""

    def __init__(self, url: str) -> None:
        import fsspec

        scheme = url.partition("://")[0]
        if scheme == "hdfs":
            _check_answers(url)
        try:
            self._files, root = fsspec.url_to_fs(url)
        except ImportError as error:
            raise _missing_package(url, _PACKAGE_OF_SCHEME.get(scheme, scheme)) from error
        except (ValueError, OSError) as error:
            if scheme == "hdfs" and importlib.util.find_spec("hdfs_native") is None:
                # fsspec falls back on pyarrow, which needs a Java machine and libhdfs of a Hadoop client.
                raise _missing_package(url, "hdfs-native") from error
            raise NoSuchSourceError(url, str(error).partition("\n")[0]) from error
        self.name = url
        self._root = str(root).rstrip("/")

    def paths(self) -> list[str]:
        """All files, in order.

        Raises:
            NoSuchSourceError: there is nothing, or the file system refuses.
        """
        try:
            found = [str(path) for path in self._files.find(self._root)]
        except Exception as error:  # each file system raises its own
            raise NoSuchSourceError(self.name, f"{type(error).__name__}: {error}") from error
        if not found:
            raise NoSuchSourceError(self.name, self._why_empty())
        if [path.lstrip("/") for path in found] == [self._root.lstrip("/")]:
            return [self._root.rsplit("/", 1)[-1]]
        inner = (path.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/") for path in found)
        return sorted(path for path in inner if not _is_hidden(PurePosixPath(path).parts))

    def _why_empty(self) -> str:
        """File systems tell of what they could not reach only when asked for one thing."""
        try:
            self._files.info(self._root)
        except Exception as error:  # each file system raises its own
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return "it is empty"

    def read(self, path: str) -> bytes:
        """The content of a file."""
        whole = self._root if self._root.rsplit("/", 1)[-1] == path else f"{self._root}/{path}"
        content: bytes = self._files.cat_file(whole)
        return content


class HubFiles:
    """Files of a data set repository over the Hugging Face Hub's HTTP API, at one revision."""

    def __init__(self, address: str, repository: str, revision: str) -> None:
        self.name = f"{address}/datasets/{repository}@{revision}"
        self._address, self._repository = address, repository
        quoted = urllib.parse.quote(revision, safe="")
        # A branch may move between listing and reading: everything is read at the commit that it is now.
        info = json.loads(self._get(f"/api/datasets/{repository}/revision/{quoted}"))
        self._commit = str(info["sha"])
        self._paths = [str(each["rfilename"]) for each in info.get("siblings", [])]

    def paths(self) -> list[str]:
        """All files, in order."""
        return sorted(path for path in self._paths if not _is_hidden(PurePosixPath(path).parts))

    def read(self, path: str) -> bytes:
        """The content of a file."""
        quoted = urllib.parse.quote(path)
        return self._get(f"/datasets/{self._repository}/resolve/{self._commit}/{quoted}")

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self._address}{path}")
        settings = read_settings()
        # The token is for the hub that the settings name, and for no other.
        if settings.hub_token and settings.hub_url == self._address:
            request.add_unredirected_header("Authorization", f"Bearer {settings.hub_token}")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise NoSuchSourceError(self.name, f"the hub answers {error.code} to {path}") from error
        except (urllib.error.URLError, TimeoutError) as error:
            raise NoSuchSourceError(self.name, f"the hub cannot be reached ({error})") from error


def open_files(source: str) -> FileTree:
    """The files of a source.

    Raises:
        NoSuchSourceError: nothing is there, or the place is not understood.
        MissingExtraError, MissingFileSystemError: the file system's package is not installed.
    """
    if (named := _HUB_NAME.fullmatch(source)) is not None:
        address = read_settings().hub_url
        if address is None:
            raise NoSuchSourceError(source, "AYNI_HUB_URL does not say where the hub is")
        return HubFiles(address, named[1], named[2] or "main")
    if (page := _HUB_PAGE.fullmatch(source)) is not None:
        return HubFiles(page[1], page[2], page[3] or page[4] or "main")
    if source.startswith("file://"):
        source = urllib.parse.unquote(source.removeprefix("file://"))
    if "://" in source:
        return RemoteFiles(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise NoSuchSourceError(source, "there is no such file or folder")
    return LocalFiles(root=path)


def content_hash(files: FileTree) -> str:
    """SHA-256 over all files; see the module's docstring."""
    digest = hashlib.sha256()
    for path, sha256 in _file_hashes(files):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def fetched(files: FileTree) -> FileTree:
    """The same files, read once: those far away are in memory then."""
    if isinstance(files, LocalFiles | GivenFiles):
        return files
    return GivenFiles(name=files.name, files={path: files.read(path) for path in files.paths()})


def _check_answers(url: str) -> None:
    """A client of HDFS tries a name node that does not answer again for minutes.

    Raises:
        NoSuchSourceError: nothing listens at the URL's host and port. Without a port it is the name of a
            service, which the client's own configuration resolves.
    """
    try:
        place = urllib.parse.urlsplit(url)
        if place.hostname and place.port:
            socket.create_connection((place.hostname, place.port), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise NoSuchSourceError(url, f"the name node cannot be reached ({error})") from error


def _missing_package(url: str, package: str) -> UserError:
    if package in _EXTRA_OF_PACKAGE:
        return MissingExtraError(extra=_EXTRA_OF_PACKAGE[package], package=package)
    return MissingFileSystemError(url, package)


def _file_hashes(files: FileTree) -> Iterator[tuple[str, str]]:
    for path in files.paths():
        yield path, hashlib.sha256(files.read(path)).hexdigest()


def _is_hidden(parts: tuple[str, ...] | Any) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in parts)
