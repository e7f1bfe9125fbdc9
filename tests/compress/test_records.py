"""Records of files: what is there is not made again, unless it is not what it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ayni.compress.draft import NO_ENERGY
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.ports import DeclaredPowerMeter
from ayni.compress.records import Made, Records, Stored, steps_json, sum_of_energies
from ayni.compress.steps import QuantizeStep


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Made]:
    """Makes the variant int8 of a text, and says how often it was made."""

    def make(content: str = "weights", *, origin: str = "model", key: str = "", fails: bool = False) -> Made:
        def store() -> Stored:
            assert not fails, "it was there already"
            (tmp_path / "int8.bin").write_text(content)
            return Stored(file=tmp_path / "int8.bin", runtime="onnxruntime", note="stored")

        records = Records(tmp_path, origin=[origin], meter=DeclaredPowerMeter())
        done = records.made("int8", store, key=[key], num_parameters=3, spent_before=NO_ENERGY, note="pruned")
        records.keep(done)
        return done

    return make


def test_a_finished_file_is_not_made_again(made: Callable[..., Made], tmp_path: Path) -> None:
    first = made()

    again = made(fails=True)

    assert again == first
    assert again.file == tmp_path / "int8.bin"
    assert again.record["note"] == "pruned; stored"


@pytest.mark.parametrize("change", [{"origin": "other"}, {"key": "8 bits"}])
def test_what_was_made_from_something_else_is_made_again(
    change: dict[str, str], made: Callable[..., Made]
) -> None:
    before = made("old")

    after = made("new", **change)

    assert after.file.read_text() == "new"
    assert after.sha256 != before.sha256


@pytest.mark.parametrize("damage", [lambda file: file.write_text("torn"), lambda file: file.unlink()])
def test_a_file_that_is_not_what_it_was_is_made_again(
    damage: Callable[[Path], object], made: Callable[..., Made]
) -> None:
    first = made()
    damage(first.file)

    assert made().sha256 == first.sha256


def test_a_torn_record_is_no_record(made: Callable[..., Made], tmp_path: Path) -> None:
    made()
    (tmp_path / "int8.json").write_text('{"made_fr')

    assert made("new").file.read_text() == "new"


def test_an_unknown_energy_makes_the_sum_unknown() -> None:
    one = EnergyInterval(low_joules=1.0, joules=2.0, high_joules=3.0)

    assert sum_of_energies(one, one) == EnergyInterval(low_joules=2.0, joules=4.0, high_joules=6.0)
    assert sum_of_energies(one, None) is None


def test_steps_are_kept_with_the_runtime_that_they_had() -> None:
    [entry] = steps_json([QuantizeStep(bits=4)])

    assert entry["quantize"]["runtime"] == "torch"
