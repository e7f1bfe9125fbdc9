"""Pool files: what they may hold, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from ayni.jobs.document import JobFileError
from ayni.jobs.pool_spec import PoolSpec, load_pool
from ayni.jobs.problems import BadJobError

EXAMPLE = Path(__file__).parents[2] / "examples" / "pool" / "pool.yaml"
POOL = """\
name: two
start: 2026-03-02
carbon: {file: carbon.csv, counting: life-cycle}
machine_classes:
  gpu: {watts: 400}
sites:
  - {name: a, member: a, zone: A, machine_class: gpu, machines: 2, electricity_credits_per_kwh: 0.1}
"""


def pool_of(tmp_path: Path, text: str) -> PoolSpec:
    path = tmp_path / "pool.yaml"
    path.write_text(text)
    return load_pool(path)


def problem_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadJobError) as raised:
        pool_of(tmp_path, text)
    return str(raised.value)


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    spec = pool_of(tmp_path, POOL)

    assert spec.sites[0].machines == 2 and spec.prices is None
    assert spec.jobs.slack_hours == 24.0 and spec.market.slot_minutes == 30


def test_the_example_is_a_pool() -> None:
    assert [site.member for site in load_pool(EXAMPLE).sites] == ["north", "south", "west"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("machines: 2", "machines: 0", "line 7: `sites.0.machines` is 0"),
        ("machines: 2", "machine: 2", "Did you mean `machines`?"),
        ("name: two", "title: two", "A pool has name, start, carbon"),
        ("machine_class: gpu", "machine_class: cpu", "a has machines of the class cpu; there are gpu"),
        (", electricity_credits_per_kwh: 0.1", "", "a has no electricity_credits_per_kwh"),
        ("watts: 400", "watts: -1", "`machine_classes.gpu.watts` is -1"),
        ("2026-03-02", "2026-03-02T12:00:00", "a time needs its zone"),
        ("2026-03-02", "soon", "start"),
        ("life-cycle", "marginal", "`carbon.counting`"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in POOL

    assert problem in problem_of(tmp_path, POOL.replace(old, new))


def test_two_sites_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = POOL + POOL.splitlines()[-1] + "\n"

    assert "the name a stands twice" in problem_of(tmp_path, twice)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="does not exist"):
        load_pool(tmp_path / "nothing.yaml")
