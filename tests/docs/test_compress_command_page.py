"""docs/compress-command.md has every key that `ayni compress show --json` and `compare --json` print."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayni.jobs.spec import AS_BUILT
from ayni.reports.compress_view import KEYS, comparison_view
from ayni.reports.compress_view import compress_view as arranged
from ayni.workflows.compress_source import BUILT_IN_TASKS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "compress-command.md").read_text(encoding="utf-8")
TABLES = [
    re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) for table in PAGE.split("| key | type | meaning |")[1:]
]


def test_the_keys_of_the_object_are_those_on_the_page() -> None:
    (sentence,) = re.findall(r"these keys of the \[run's object\]\(run-object\.md\): (.*)\.\n", PAGE)

    assert tuple(re.findall(r"`(\w+)`", sentence)) == KEYS


def test_the_keys_that_a_variant_has_in_addition_are_those_on_the_page(
    compress_view: Callable[..., dict[str, Any]],
) -> None:
    run = compress_view()

    added = set(arranged(run)["variants"][0]) - set(run["variants"][0])

    assert sorted(added) == sorted(TABLES[0])


def test_the_keys_of_a_comparison_are_those_on_the_page(compress_view: Callable[..., dict[str, Any]]) -> None:
    run = compress_view()

    found = comparison_view(run, "full", run, "int8")

    assert list(found) == TABLES[1]
    for row in (found["latencies"][0], found["groups"][0]):
        assert all(f"`{key}`" in PAGE for key in row)


def test_every_kind_of_model_and_built_in_task_is_on_the_page() -> None:
    assert f"the word `{AS_BUILT}`" in PAGE
    assert all(f"--task {name} --text" in PAGE for name in BUILT_IN_TASKS)
