"""What is wrong with a job, in sentences: the place, what was found, and what is allowed.

Pydantic finds the problems; this module says them. What is allowed comes from the JSON schema of the
job, so that a new key or a new bound needs no new text here.

Not covered: problems of YAML itself, which `document` explains.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ayni.errors import UserError
from ayni.jobs.document import Document, KeyPath, describe, dotted

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend. `place` is "line 5", an override, or empty for the file as a whole."""

    place: str
    text: str

    def __str__(self) -> str:
        """The place and the text, as a line of an error."""
        return f"{self.place}: {self.text}" if self.place else self.text


class BadJobError(UserError):
    """The job is YAML, but not a job. All problems are listed at once."""

    def __init__(self, *, name: str, problems: list[Problem]) -> None:
        self.problems = problems
        if len(problems) == 1:
            place = f", {problems[0].place}" if problems[0].place else ""
            text = f"{name}{place}: {problems[0].text}"
        else:
            text = "\n  ".join([f"{name} has {len(problems)} problems:", *(str(one) for one in problems)])
        super().__init__(text)


def problems_of(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """The findings of pydantic as problems, in the order of the file."""
    schema = _Schema(model.model_json_schema())
    found = [_problem(details, document, schema) for details in error.errors(include_url=False)]
    return sorted(found, key=lambda problem: _line_number(problem.place))


def _line_number(place: str) -> int:
    number = place.removeprefix("line ")
    return int(number) if number.isdigit() else 0


def _problem(details: ErrorDetails, document: Document, schema: "_Schema") -> Problem:
    path: KeyPath = details["loc"]
    kind = details["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return Problem(place=document.place(path), text=_unknown_key(path, schema))
    if kind.startswith("missing"):
        text = f"the key `{dotted(path)}` is missing. It is {schema.allowed(path)}."
        return Problem(place=document.place(path), text=text)
    if kind == "value_error":
        return _refused_value(details, document, schema)
    allowed = schema.allowed(path)
    text = f"`{dotted(path)}` is {describe(details['input'])}, allowed is {allowed}."
    return Problem(place=document.place(path), text=text + _nearest_choice(details["input"], path, schema))


def _unknown_key(path: KeyPath, schema: "_Schema") -> str:
    key, parent = str(path[-1]), path[:-1]
    known = schema.keys(parent)
    elsewhere = [other for other in schema.all_paths() if other[-1] == key and other[:-1] != parent]
    wanted = key.lower().replace("-", "_")
    near = difflib.get_close_matches(wanted, known, n=1) or [
        name for name in known if name.startswith(wanted)
    ]
    if near:
        hint = f" Did you mean `{near[0]}`?"
    elif elsewhere:
        hint = f" Did you mean `{dotted(elsewhere[0])}`?"
    else:
        hint = ""
    where = f"`{dotted(parent)}` has" if parent else f"A {schema.subject} has"
    return f"the key `{dotted(path)}` is unknown.{hint} {where} {', '.join(known)}."


def _nearest_choice(value: Any, path: KeyPath, schema: "_Schema") -> str:
    near = difflib.get_close_matches(str(value).lower(), schema.choices(path), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _refused_value(details: ErrorDetails, document: Document, schema: "_Schema") -> Problem:
    """A check of our own failed, often one of a whole section; the keys in its text tell the line."""
    path: KeyPath = details["loc"]
    text = str(details.get("ctx", {}).get("error", details["msg"])).removesuffix(".") + "."
    value = details["input"]
    if not isinstance(value, dict):
        return Problem(place=document.place(path), text=f"`{dotted(path)}`: {text}")
    keys = (_key_in(word, lambda part: _is_given(part, value)) for word in text.split())
    given = next((key for key in keys if key), ())
    first, _, rest = text.partition(" ")
    if subject := _key_in(first, lambda part: schema.has((*path, *part))):
        text = f"`{dotted((*path, *subject))}` {rest}"
    return Problem(place=document.place((*path, *given)), text=text)


def _key_in(word: str, is_key: Callable[[KeyPath], bool]) -> KeyPath:
    """The longest end of a dotted word that is a key; empty when none is.

    A section says `aggregation.rule`, whether it was asked for itself or as a part of `train`.
    """
    parts: KeyPath = tuple(word.strip("`'\",:;.()").split("."))
    return next((parts[start:] for start in range(len(parts)) if is_key(parts[start:])), ())


def _is_given(path: KeyPath, value: Any) -> bool:
    """Whether the file has this key below the value."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


class _Schema:
    """Questions to a JSON schema by key path."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    @property
    def subject(self) -> str:
        """What the file describes: JobSpec is a job, PoolSpec a pool."""
        return str(self._root["title"]).removesuffix("Spec").lower()

    def keys(self, path: KeyPath) -> list[str]:
        """The keys that the mapping at `path` may have."""
        return list(self._at(path).get("properties", {}))

    def has(self, path: KeyPath) -> bool:
        """Whether there may be a key at `path`."""
        return str(path[-1]) in self.keys(path[:-1])

    def choices(self, path: KeyPath) -> list[str]:
        """The values that the key at `path` may have, when it is one of a few."""
        return [str(choice) for choice in self._at(path).get("enum", [])]

    def allowed(self, path: KeyPath) -> str:
        """What the value at `path` may be, in words."""
        return _in_words(self._at(path))

    def all_paths(self) -> Iterator[KeyPath]:
        """Key paths of all mappings that are not inside lists, outer ones first."""
        waiting: list[KeyPath] = [()]
        while waiting:
            path = waiting.pop(0)
            inner: list[KeyPath] = [(*path, key) for key in self.keys(path)]
            yield from inner
            waiting.extend(inner)

    def _at(self, path: KeyPath) -> Schema:
        schema = self._resolve(self._root)
        for part in path:
            inner = (
                schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part)
            )
            schema = self._resolve(inner or schema.get("additionalProperties") or {})
        return schema

    def _resolve(self, schema: Schema | bool) -> Schema:
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            target = self._root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
            return self._resolve(target)
        options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
        if options:
            return {**self._resolve(options[0]), "nullable": len(options) < len(schema["anyOf"])}
        return schema


_TYPES = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _in_words(schema: Schema) -> str:
    null = ", or null" if schema.get("nullable") else ""
    if "allowed" in schema:
        return f"{schema['allowed']}{null}"
    if "enum" in schema:
        *others, last = (str(choice) for choice in schema["enum"])
        return f"{', '.join(others)} or {last}{null}" if others else f"{last}{null}"
    kind = str(schema.get("type"))
    if kind == "object":
        keys = list(schema.get("properties", {}))
        return f"a mapping with the keys {', '.join(keys)}{null}" if keys else f"a mapping{null}"
    if kind == "array":
        return f"a list, each {_indefinite(schema)}{null}"
    bounds = [f"{words} {schema[bound]}" for bound, words in _BOUNDS.items() if bound in schema]
    within = f", {' and '.join(bounds)}" if bounds else ""
    return f"{_TYPES.get(kind, 'another value')}{within}{null}"


def _indefinite(schema: Schema) -> str:
    items = schema.get("items", {})
    return "as in `- prune: {channels: 0.5}`" if "$ref" in items else _in_words(items)
