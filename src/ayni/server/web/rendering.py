"""Templates to text: escaping is on for all of them, and a name that is not given is an error.

The style sheet is a template too, because it begins with the colours and figures of the reports: pages and
reports look alike and are changed in one place. What a page asks for beside itself is here: one style sheet,
one script that only makes forms answer faster, and one picture.

Not covered: other languages.
"""

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import jinja2

from ayni.reports import formats

_FORMATS = ("count", "grams", "joules", "credits", "seconds", "stored_bytes", "moment")
_MEDIA_TYPES = {
    "site.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file of the pages, as it is and compressed; `version` changes with its content."""

    content: bytes
    compressed: bytes
    media_type: str
    version: str


def render(template: str, **values: object) -> str:
    """A page as text."""
    return _environment().get_template(template).render(static=static_address, **values)


def static_address(name: str) -> str:
    """Where a page finds a file; another address whenever its content changes."""
    return f"/static/{name}?v={static_files()[name].version}"


@functools.cache
def static_files() -> Mapping[str, StaticFile]:
    """Everything that pages need beside themselves, by name."""
    folder = files("ayni.server.web") / "static"
    contents = {
        "site.css": _environment().get_template("site.css.j2").render().encode(),
        **{name: (folder / name).read_bytes() for name in _MEDIA_TYPES if name != "site.css"},
    }
    return {name: _static_file(name, content) for name, content in contents.items()}


def _static_file(name: str, content: bytes) -> StaticFile:
    return StaticFile(
        content=content,
        compressed=gzip.compress(content, mtime=0),
        media_type=_MEDIA_TYPES[name],
        version=hashlib.sha256(content).hexdigest()[:12],
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("ayni.server.web"),
                jinja2.PrefixLoader({"reports": jinja2.PackageLoader("ayni.reports")}),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in _FORMATS}
    environment.filters |= {
        "day": day,
        "iso": iso,
        "plural": plural,
        "short": short,
        "figures": formats.digits,
    }
    return environment


def day(when: datetime) -> str:
    """A date: 22 Nov 2026."""
    there = when.astimezone(UTC)
    return f"{there.day} {there:%b %Y}"


def iso(when: datetime) -> str:
    """A time as machines read it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plural(number: int, noun: str) -> str:
    """A number and a noun: 1 file, 2 files."""
    return f"{formats.count(number)} {noun}{'' if number == 1 else 's'}"


def short(digits: str) -> str:
    """The first digits of a revision."""
    return digits[:12]
