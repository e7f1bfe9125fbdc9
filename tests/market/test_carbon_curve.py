import pytest

pytest.importorskip("numpy")

from tests.market.test_clearing import CREDIT, bid, market, offer

from ayni.market.carbon_curve import CurvePoint, carbon_curve, pareto_points


def test_each_share_buys_the_greener_grid_that_it_allows() -> None:
    offers = [offer("cheap"), offer("green", zone="NO", ask_microcredits_per_machine_hour=int(1.2 * CREDIT))]

    points = carbon_curve(market([bid("a", 50)], offers), shares=(0.0, 0.1, 0.2))

    assert [point.cost_microcredits for point in points] == [4 * CREDIT, 4 * CREDIT, int(4.8 * CREDIT)]
    assert points[1].grams > points[2].grams == pytest.approx(4 * 0.5 * 30)
    assert pareto_points(points) == (points[0], points[2])


def test_points_that_are_beaten_are_left_out() -> None:
    def point(cost: int, grams: float) -> CurvePoint:
        return CurvePoint(
            greenest_within=0.0, num_placed=1, reference_hours=2.0, cost_microcredits=cost, grams=grams
        )

    cheap, beaten, green = point(10, 50.0), point(12, 60.0), point(20, 5.0)

    assert pareto_points([beaten, green, cheap]) == (cheap, green)
