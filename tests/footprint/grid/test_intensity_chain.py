from datetime import UTC, datetime, timedelta

import pytest

from ayni.footprint.grid.basis import Basis, BasisMismatchError
from ayni.footprint.grid.carbon import UnknownZoneError, carbon_intensity
from ayni.footprint.grid.climatology import shipped_climatology
from ayni.footprint.grid.intensity_chain import (
    ANNUAL,
    COUNTRY,
    UNKNOWN,
    WORLD,
    MarginalReceiptError,
    intensities_of,
)
from ayni.footprint.grid.intensity_series import CLIMATOLOGY, HOUR, METERED, GivenSeries, IntensitySeries

MIDNIGHT = datetime(2023, 7, 1, tzinfo=UTC)
HOURS = [MIDNIGHT, MIDNIGHT + HOUR]
DIRECT = Basis(counting="direct")


def file_of(*values: float | None, zone: str = "DE", basis: Basis | None = None) -> GivenSeries:
    return GivenSeries(
        IntensitySeries(
            zone=zone,
            basis=basis or Basis(),
            source="a file",
            first_hour=MIDNIGHT,
            grams_co2e_per_kwh=values,
        )
    )


def links_of(zone: str | None, *sources: GivenSeries, basis: Basis | None = None) -> list[str]:
    _, weights = intensities_of(zone, HOURS, sources=sources, basis=basis)
    return [weight.link for weight in weights]


def test_each_hour_is_weighed_by_the_first_link_that_knows_it() -> None:
    assert links_of("DE", file_of(300.0, None)) == [METERED, ANNUAL]
    assert links_of("US-CAL-CISO", file_of(300.0, None, zone="US-CAL-CISO")) == [METERED, CLIMATOLOGY]
    assert links_of("DE-LU", file_of(300.0, None, zone="DE-LU")) == [METERED, COUNTRY]
    assert links_of("DE", file_of(None, None), file_of(None, 7.0)) == [ANNUAL, METERED]


def test_without_a_file_the_best_of_the_shipped_figures_is_taken() -> None:
    assert links_of("CISO") == [CLIMATOLOGY] * 2
    assert links_of("DE") == [ANNUAL] * 2
    assert links_of("DE-LU") == [COUNTRY] * 2
    assert links_of(None) == [WORLD] * 2


def test_no_network_and_no_zone_is_unknown_with_the_worlds_range_and_never_some_country() -> None:
    basis, (weight, _) = intensities_of(None, HOURS)

    assert basis == Basis()
    assert weight.zone == "unknown"
    assert weight.intensity is not None
    assert weight.intensity.value == carbon_intensity(None).grams_co2e_per_kwh
    assert weight.intensity.high / weight.intensity.low > 10


def test_every_link_widens_the_interval() -> None:
    zone = "US-CAL-CISO"
    widths = []
    for sources in ([file_of(256.2, 256.2, zone=zone)], []):
        _, (weight, _) = intensities_of(zone, HOURS, sources=sources)
        assert weight.intensity is not None
        widths.append(weight.intensity.high / weight.intensity.low)
    widths += [figure.high / figure.low for figure in (carbon_intensity(zone), carbon_intensity(None))]

    assert widths == sorted(widths)
    assert len(set(widths)) == 4


def test_an_hour_of_climatology_is_that_of_its_month() -> None:
    _, (weight, _) = intensities_of("PJM", HOURS)
    table = shipped_climatology("PJM")

    assert table is not None
    assert weight.intensity is not None
    assert weight.intensity.value == table.cells[6][0]


def test_links_of_another_basis_are_passed_over() -> None:
    # Given direct figures of a zone whose climatology, country and world are life-cycle
    file = file_of(200.0, None, zone="US-CAL-CISO", basis=DIRECT)

    basis, weights = intensities_of("US-CAL-CISO", HOURS, sources=[file])

    # Then the hole is unknown and not filled with something else
    assert basis == DIRECT
    assert [weight.link for weight in weights] == [METERED, UNKNOWN]
    assert weights[1].intensity is None


def test_the_direct_figures_of_a_state_fall_back_to_nothing_and_its_life_cycle_ones_to_the_country() -> None:
    assert links_of("US-CA") == [ANNUAL] * 2
    assert intensities_of("US-CA", HOURS)[0] == DIRECT
    assert links_of("US-CA", basis=Basis()) == [COUNTRY] * 2
    assert links_of(None, basis=DIRECT) == [UNKNOWN] * 2


def test_a_source_of_another_basis_than_the_one_asked_for_is_refused() -> None:
    with pytest.raises(BasisMismatchError):
        links_of("DE", file_of(1.0, 1.0), basis=DIRECT)
    with pytest.raises(BasisMismatchError):
        links_of("DE", file_of(1.0, 1.0), file_of(1.0, 1.0, basis=DIRECT))


def test_marginal_figures_never_enter_a_receipt() -> None:
    with pytest.raises(MarginalReceiptError, match="Use average intensities"):
        links_of("DE", file_of(900.0, 900.0, basis=Basis(signal="marginal")))


def test_a_zone_that_nothing_knows_is_refused_unless_a_source_may_know_it() -> None:
    with pytest.raises(UnknownZoneError):
        links_of("ATLANTIS")

    assert links_of("ATLANTIS", file_of(5.0, None, zone="ATLANTIS")) == [METERED, WORLD]
    assert links_of("ATLANTIS", file_of(5.0, zone="MU")) == [WORLD] * 2


def test_hours_are_asked_for_once_each_and_in_order() -> None:
    moments = [MIDNIGHT + timedelta(minutes=90), MIDNIGHT, MIDNIGHT + timedelta(minutes=1)]

    _, weights = intensities_of("DE", moments)

    assert [weight.hour for weight in weights] == HOURS
    with pytest.raises(ValueError, match="no hour"):
        intensities_of("DE", [])
