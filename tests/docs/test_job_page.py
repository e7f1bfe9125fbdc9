"""docs/job.md names every key of job.yaml with its type, default and an example that works, and no other."""

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from ayni.compress.steps import STEP_CLASSES
from ayni.data.card import DataCard
from ayni.jobs.document import parse_document, parse_value
from ayni.jobs.loading import check_spec, load_job
from ayni.jobs.spec import JobSpec
from ayni.task import REQUIRED_METHODS
from ayni.train.config import PACE_KEYS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "job.md").read_text(encoding="utf-8")
STEPS = tuple(STEP_CLASSES)
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", tuple: "list"}

# A job in which every section is there, so that any single key of it can be replaced.
FULL_JOB = """\
name: full
task: task:Digits
train:
  learners: 8
  aggregation: {num_faulty: 1}
  adapter: {}
  tls: {ca_file: ca.pem, certificate_file: me.pem, key_file: me.key}
publish: {repository: me/full}
site: {zone: DE, tariff: {file: prices.csv, credits_per_unit: 1}}
data: {source: flowers.csv, augment: {policy: digits}}
compress: {steps: [STEPS]}
""".replace("STEPS", ", ".join(f"{{{step}: {{}}}}" for step in STEPS))


# Compression has no place in a job that promises privacy.
PRIVATE_JOB = """\
name: private
task: task:Digits
train: {privacy: {epsilon: 8, delta: 1.0e-5}}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of one of the page's tables of keys."""

    key: str
    type: str
    unit: str
    default: str
    example: str
    meaning: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that the code knows. `has_default` is False for one that must be given."""

    annotation: Any
    has_default: bool
    default: Any = None


def code(cell: str) -> str:
    assert cell.startswith("`") and cell.endswith("`"), cell
    return cell[1:-1]


def tables(header: str) -> Iterator[list[str]]:
    """The cells of each line of the tables that begin with `header`."""
    for table in PAGE.split(header)[1:]:
        for line in table.splitlines()[2:]:
            if not line.startswith("|"):
                break
            yield [cell.strip() for cell in line.strip("|").split("|")]


ROWS = {
    code(cells[0]): Row(
        **dict(zip(("key", "type", "unit", "default", "example", "meaning"), cells, strict=True))
    )
    for cells in tables("| key | type | unit | default | example | meaning |")
}


def without_none(annotation: Any) -> Any:
    """The type inside Annotated and `| None`."""
    if get_origin(annotation) is Annotated:
        return without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (each for each in get_args(annotation) if each is not NoneType)
        return without_none(inner)
    return annotation


def fields_of(kind: Any) -> Iterator[tuple[str, Key]]:
    """Names and keys of a section, whether pydantic or dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            yield (
                name,
                Key(annotation=hints[name], has_default=not field.is_required(), default=default),
            )
        return
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            default = field.default
        has_default = default is not dataclasses.MISSING
        yield field.name, Key(annotation=hints[field.name], has_default=has_default, default=default)


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))


def keys_of(kind: Any, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Every key below a section by its dotted path; an entry of a list is called `[]`."""
    for name, key in fields_of(kind):
        path = f"{prefix}{name}"
        yield path, key
        inner = without_none(key.annotation)
        if is_section(inner):
            yield from keys_of(inner, f"{path}.")
        elif get_origin(inner) is tuple and is_section(get_args(inner)[0]):
            yield from keys_of(get_args(inner)[0], f"{path}[].")


KEYS = dict(keys_of(JobSpec))


def test_the_page_has_every_key_of_a_job_and_no_other() -> None:
    assert sorted(ROWS) == sorted(KEYS)
    assert len(list(tables("| key | type | unit | default | example | meaning |"))) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_type_on_the_page_is_that_of_the_field(key: str) -> None:
    kind = without_none(KEYS[key].annotation)

    if get_origin(kind) is Literal:
        expected = ", ".join(f"`{choice}`" for choice in get_args(kind))
    elif is_section(kind) or get_origin(kind) is Mapping:
        expected = "mapping"
    else:
        expected = WORDS[get_origin(kind) or kind]

    assert ROWS[key].type == expected


@pytest.mark.parametrize("key", KEYS)
def test_the_default_on_the_page_is_that_of_the_field(key: str) -> None:
    written = ROWS[key].default

    if not KEYS[key].has_default:
        assert written == "required"
        return
    value = parse_value(code(written), name=key)
    assert TypeAdapter(KEYS[key].annotation).validate_python(value) == KEYS[key].default


@pytest.mark.parametrize("key", KEYS)
def test_the_example_on_the_page_is_accepted(key: str, tmp_path: Path) -> None:
    for name in ("task.py", "flowers.csv", "reviews.csv"):
        (tmp_path / name).touch()
    # A job that begins with a trained model does not say how to train one.
    job_text = "name: short\ntask: task:Short\n" if key == "model" else FULL_JOB
    job_text = PRIVATE_JOB if key.startswith("train.privacy") else job_text
    (tmp_path / "job.yaml").write_text(job_text, encoding="utf-8")
    position = next((index for index, step in enumerate(STEPS) if f"[].{step}" in key), 0)

    job = load_job(tmp_path / "job.yaml", [f"{key.replace('[]', f'.{position}')}={code(ROWS[key].example)}"])

    assert job.spec.name


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_unit_and_a_meaning(key: str) -> None:
    assert ROWS[key].unit
    assert len(ROWS[key].meaning) > 10


def test_units_in_the_names_of_keys_are_the_units_on_the_page() -> None:
    units = {
        "_seconds": "seconds",
        "_kwh": "kilowatt-hour",
        "_watts": "watts",
        "_grams": "grams",
        "_bytes": "bytes",
    }

    wrong = [
        key
        for key, row in ROWS.items()
        for ending, unit in units.items()
        if key.endswith(ending) and unit not in row.unit
    ]

    assert wrong == []


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_jobs_on_the_page_are_jobs(text: str) -> None:
    assert check_spec(parse_document(text, name="docs/job.md")).name == yaml.safe_load(text)["name"]


def test_the_keys_that_may_change_over_a_resume_are_those_on_the_page() -> None:
    (sentence,) = re.findall(
        r"A run that is resumed with other values here is refused, except for (.*)\.", PAGE
    )

    assert tuple(re.findall(r"`(\w+)`", sentence)) == PACE_KEYS


def test_the_page_has_the_methods_of_a_task() -> None:
    methods = [code(cells[0]).partition("(")[0] for cells in tables("| method | returns | what it is for |")]

    assert methods == list(REQUIRED_METHODS)


def test_the_page_has_every_member_that_a_task_may_have() -> None:
    members = [code(cells[0]).partition("(")[0] for cells in tables("| member | what it is | without it |")]

    assert sorted(members) == sorted(optional_members())


def optional_members() -> set[str]:
    """What the code asks a task for without requiring it: getattr(task, "...") and hasattr(task, "...")."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in ("getattr", "hasattr"):
                continue
            asked, name = node.args[0], node.args[1]
            asked_name = getattr(asked, "id", getattr(asked, "attr", ""))
            if asked_name in ("task", "_task", "user_task") and isinstance(name, ast.Constant):
                found.add(name.value)
    return found


def test_the_page_has_every_field_of_a_data_card() -> None:
    rows = list(tables("| field | type | meaning |"))

    assert [code(cells[0]) for cells in rows] == [field.name for field in dataclasses.fields(DataCard)]
    hints = get_type_hints(DataCard)
    assert [cells[1] for cells in rows] == [WORDS[without_none(hints[code(cells[0])])] for cells in rows]


def test_the_task_on_the_page_has_a_card_that_is_understood() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)

    task = names["Flowers"]()

    assert DataCard(**task.data_card()).unknown == ["attribution"]
    assert task.labels() and task.baseline() and len(task.value_range) == 2
