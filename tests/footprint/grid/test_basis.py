import pytest

from ayni.footprint.grid.basis import Basis, BasisMismatchError, one_basis
from ayni.footprint.grid.carbon import carbon_intensity


@pytest.mark.parametrize("counting", ["life-cycle", "direct"])
@pytest.mark.parametrize("signal", ["average", "marginal"])
def test_a_basis_is_found_again_in_its_text(counting: str, signal: str) -> None:
    basis = Basis(counting=counting, signal=signal)  # type: ignore[arg-type]

    assert Basis.of_text(str(basis)) == basis
    assert Basis.of_text(f"{basis}, annual") == basis


@pytest.mark.parametrize(
    ("zone", "counting"), [("DE", "life-cycle"), ("US-CA", "direct"), (None, "life-cycle")]
)
def test_the_annual_figures_say_a_basis_that_can_be_read(zone: str | None, counting: str) -> None:
    assert Basis.of_text(carbon_intensity(zone).basis).counting == counting


def test_a_text_that_names_no_basis_is_refused() -> None:
    with pytest.raises(ValueError, match="does not name a basis"):
        Basis.of_text("average, market-based")
    with pytest.raises(ValueError, match="no basis"):
        Basis(counting="both")  # type: ignore[arg-type]


def test_figures_that_count_different_things_are_not_added() -> None:
    with pytest.raises(BasisMismatchError, match=r"direct \| average, location-based, life-cycle") as caught:
        one_basis([Basis(), Basis(counting="direct"), Basis()])

    assert caught.value.exit_code == 2
    assert one_basis([Basis(), Basis()]) == Basis()
