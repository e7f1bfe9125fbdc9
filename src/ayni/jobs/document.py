"""YAML as values that remember their lines, so that an error can point at one.

The scalars follow the core schema of YAML 1.2, not PyYAML's YAML 1.1, because the older one bites in
a job file: `zone: NO` (Norway) would be false, `learning_rate: 1e-3` a text and `deadline: 1:30` the
number 90. A job file is small, so its size, its depth and what its aliases expand to are bounded.

Not covered: tags (`!!python/...` and every other), merge keys (`<<`), several documents in a file,
and keys that are not text. Each is refused with a message.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ayni.errors import UserError

MAX_FILE_BYTES = 256 * 1024
MAX_VALUES = 10_000
MAX_DEPTH = 50

KeyPath = tuple[str | int, ...]


class JobFileError(UserError):
    """The job file cannot be read as YAML."""

    def __init__(self, *, name: str, line: int | None, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"{name} {reason}" if line is None else f"{name}, line {line}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The values of a YAML text, and for each key path where it was said ("line 5" or "--set a.b=1")."""

    name: str
    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Where `path` was said, or something in it, or its nearest parent; empty for the whole file."""
        if path in self.places:
            return self.places[path]
        # A --set makes the sections above its key, and those have no line of their own.
        inside = (place for known, place in self.places.items() if path and known[: len(path)] == path)
        above = (self.places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.places)
        return next(inside, next(above, ""))


def read_document(path: Path) -> Document:
    """The document in a file.

    Raises:
        JobFileError: absent, a folder, too large, not text, not YAML, or not a mapping of keys.
    """
    return parse_document(_read_text(path), name=str(path))


def parse_document(text: str, *, name: str) -> Document:
    """The document in a text; `name` is what errors call it.

    Raises:
        JobFileError: not YAML, not a mapping of keys, or beyond the bounds of this module.
    """
    reader = _Reader(name)
    node = reader.compose(text)
    if node is None:
        raise JobFileError(name=name, line=None, reason=f"is empty. {_HOW_TO_START}")
    values = reader.value(node, ())
    if not isinstance(values, dict):
        raise JobFileError(
            name=name, line=1, reason=f"a job is a mapping of keys, found {describe(values)}. {_HOW_TO_START}"
        )
    return Document(name=name, values=values, places=reader.places)


def parse_value(text: str, *, name: str) -> Any:
    """The value in a short YAML text, as `--set` takes it; an empty text is null."""
    reader = _Reader(name)
    node = reader.compose(text)
    return None if node is None else reader.value(node, ())


def describe(value: Any) -> str:
    """A value as an error names it: short, and with its type where that could be mistaken."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, str):
        return f"the text {_shorten(value)!r}"
    if isinstance(value, dict):
        return f"a mapping of {len(value)} keys" if len(value) != 1 else "a mapping of one key"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return _shorten(str(value))


def dotted(path: KeyPath) -> str:
    """A key path as people write it: train.rounds."""
    return ".".join(str(part) for part in path)


_HOW_TO_START = "Write a new one with `ayni init`."


def _shorten(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _read_text(path: Path) -> str:
    name = str(path)
    try:
        if path.is_dir():
            inside = path / "job.yaml"
            hint = f"Its job is {inside}." if inside.is_file() else "Name the job file, for example job.yaml."
            raise JobFileError(name=name, line=None, reason=f"is a folder, not a job file. {hint}")
        if not path.exists():
            raise JobFileError(name=name, line=None, reason=f"does not exist.{_yaml_files_beside(path)}")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            reason = f"has {size:,} bytes, a job file has at most {MAX_FILE_BYTES:,}. Is it the right file?"
            raise JobFileError(name=name, line=None, reason=reason)
        content = path.read_bytes()
    except OSError as error:
        raise JobFileError(
            name=name, line=None, reason=f"cannot be read: {error.strerror or error}."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reason = f"this is not text in UTF-8 (byte 0x{content[error.start]:02x}). Is it the right file?"
        raise JobFileError(name=name, line=line, reason=reason) from error


def _yaml_files_beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    files = sorted(found.name for pattern in ("*.yaml", "*.yml") for found in path.parent.glob(pattern))
    return f" In that folder there is: {', '.join(files[:5])}." if files else f" {_HOW_TO_START}"


class _Composer(yaml.SafeLoader):
    """PyYAML's scanner, parser and composer with the scalar types of YAML 1.2 and no aliases to rebuild."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


_STRING, _NULL, _BOOL, _INT, _FLOAT = (
    f"tag:yaml.org,2002:{n}" for n in ("str", "null", "bool", "int", "float")
)

# Source: YAML 1.2.2, section 10.3.2 (core schema, tag resolution).
_CORE_SCHEMA = [
    (_NULL, r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    (_BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (_INT, r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        _FLOAT,
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
]
for _tag, _pattern, _first in _CORE_SCHEMA:
    _Composer.add_implicit_resolver(_tag, re.compile(_pattern), _first)


class _Reader:
    """Turns YAML nodes into values and notes the line of each key path."""

    def __init__(self, name: str) -> None:
        self.places: dict[KeyPath, str] = {}
        self._name = name
        self._num_values = 0

    def compose(self, text: str) -> yaml.Node | None:
        """The root node of the text; None when there is nothing but comments."""
        composer: _Composer | None = None
        try:
            # The constructor already looks at the characters, so it belongs inside.
            composer = _Composer(text)
            node: yaml.Node | None = composer.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise self._error(_mark(error), _explain(error, text)) from error
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            reason = f"a control character, {chr(int(error.character))!r}, is here. Is it the right file?"
            raise JobFileError(name=self._name, line=line, reason=reason) from error
        except RecursionError as error:
            raise self._too_deep() from error
        finally:
            if composer is not None:
                composer.dispose()
        return node

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """The plain value of a node: dict, list, text, number, boolean or None."""
        if len(path) > MAX_DEPTH:
            raise self._too_deep()
        # Aliases are expanded here, so counting here is what stops an alias bomb.
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            reason = (
                f"the file holds more than {MAX_VALUES:,} values, aliases (*name) expanded. Write them out."
            )
            raise self._error(node.start_mark, reason)
        self.places.setdefault(path, _line(node.start_mark))
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node, "tag:yaml.org,2002:map")
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, "tag:yaml.org,2002:seq")
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STRING:
                reason = (
                    f"a key is a text, found {_shorten(str(key)) if isinstance(key, str) else 'a structure'}."
                )
                raise self._error(key_node.start_mark, reason)
            key_path = (*path, key)
            if key in values:
                reason = (
                    f"the key `{dotted(key_path)}` was already given in {self.places[key_path]}. Keep one."
                )
                raise self._error(key_node.start_mark, reason)
            if key == "<<":
                raise self._error(key_node.start_mark, "merge keys (<<) are not read. Write the keys out.")
            self.places[key_path] = _line(key_node.start_mark)
            values[key] = self.value(value_node, key_path)
        return values

    def _scalar(self, node: yaml.Node) -> Any:
        text: str = node.value
        if node.tag == _STRING:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        try:
            if node.tag == _INT:
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if node.tag == _FLOAT:
                number = float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
                if math.isfinite(number):
                    return number
                raise ValueError(text)
        except ValueError as error:
            raise self._error(node.start_mark, f"{_shorten(text)} is not a finite number.") from error
        self._refuse_tag(node, _STRING)
        return text

    def _refuse_tag(self, node: yaml.Node, plain_tag: str) -> None:
        if node.tag != plain_tag:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._error(
                node.start_mark, f"the tag {_shorten(tag)} is not read: a job holds plain values only."
            )

    def _too_deep(self) -> JobFileError:
        reason = f"is nested deeper than {MAX_DEPTH} levels. Is it the right file?"
        return JobFileError(name=self._name, line=None, reason=reason)

    def _error(self, mark: yaml.Mark | None, reason: str) -> JobFileError:
        return JobFileError(name=self._name, line=None if mark is None else mark.line + 1, reason=reason)


def _line(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}"


_ADVICE = {
    "mapping values are not allowed": "A colon too many, or wrong indentation. Quote texts with a colon.",
    "undefined alias": "No anchor (&name) of that name comes before. Quote texts that begin with *.",
    "cannot start any token": "Quote texts that begin with it.",
}


def _mark(error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    """Where the mistake is: for what is never closed, where it begins and not the end of the file."""
    if "stream end" in str(error.problem) or "end of stream" in str(error.problem):
        return error.context_mark or error.problem_mark
    return error.problem_mark or error.context_mark


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's complaint, with what to do for the mistakes that people make most."""
    mark, lines = _mark(error), text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    shown = repr(_shorten(line.strip()))
    problem = str(error.problem or error.context or "not YAML")
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return "this line is indented with a tab. YAML wants spaces: two for each level."
    if "expected a single document" in str(error.context):
        return "a second document begins here (---). A job file holds one."
    for sign, advice in _ADVICE.items():
        if sign in problem:
            return f"{problem}, in {shown}. {advice}"
    if mark is not None and mark is error.context_mark and mark is not error.problem_mark:
        return f"a quote or bracket that is opened here is never closed: {shown}."
    begun = error.context_mark
    opened = f" (opened in line {begun.line + 1})" if begun and mark and begun.line < mark.line else ""
    context = f" {error.context}{opened}" if error.context and error.problem else ""
    return f"not YAML: {problem}{context}. The line reads {shown}."
