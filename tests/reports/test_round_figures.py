import re
from typing import Any

import pytest

from ayni.reports.html_report import render_report
from ayni.reports.round_figures import round_figures, rows_of_rounds


def plots(view: dict[str, Any]) -> list[str]:
    return [figure.plot for figure in round_figures(view)]


def keys_of(view: dict[str, Any]) -> list[str]:
    return re.findall(r'<title id="rounds-(\w+)-', " ".join(plots(view)))


def with_rounds(view: dict[str, Any], num_rounds: int, **values: Any) -> dict[str, Any]:
    """The run with so many rounds, all like its first one."""
    first = view["train"]["curve"][0]
    view["train"]["curve"] = [{**first, **values, "round": round_} for round_ in range(1, num_rounds + 1)]
    return view


def test_a_run_shows_utilisation_pace_bytes_and_learners(view: dict[str, Any]) -> None:
    view["train"]["curve"][1]["num_updates"] = 1

    assert keys_of(view) == ["utilisation", "pace", "bytes", "learners"]


def test_learners_that_never_changed_are_not_plotted(view: dict[str, Any]) -> None:
    assert keys_of(view) == ["utilisation", "pace", "bytes"]


def test_updates_are_drawn_where_they_were_not_as_many_as_learners(view: dict[str, Any]) -> None:
    view["train"]["curve"][1].update(learners_alive=1, num_updates=1)
    assert ">updates<" not in plots(view)[3]

    view["train"]["curve"][2].update(num_updates=1)

    assert ">updates<" in plots(view)[3]


def test_one_round_is_no_line(view: dict[str, Any], unfinished_view: dict[str, Any]) -> None:
    assert plots(with_rounds(view, 1)) == []
    assert plots(unfinished_view) == []


def test_bytes_are_drawn_up_and_down_and_between_learners_where_some_were(view: dict[str, Any]) -> None:
    plain = plots(view)[2]
    assert ">up<" in plain and ">down<" in plain and ">learners<" not in plain

    gang = plots(with_rounds(view, 3, bytes_sent=5_000_000))[2]

    assert ">learners<" in gang
    assert "learners from 1.69" in gang


def test_rounds_that_do_not_know_which_way_bytes_went_are_drawn_as_a_sum(view: dict[str, Any]) -> None:
    unknown = dict.fromkeys(("bytes_up", "bytes_down", "utilisation", "num_updates", "num_dropped"))

    drawn = plots(with_rounds(view, 3, **unknown))

    assert keys_of(view) == ["pace", "bytes"]
    assert ">sent<" in drawn[1] and ">up<" not in drawn[1]


def test_ticks_of_rounds_and_learners_are_whole_and_start_at_nothing(view: dict[str, Any]) -> None:
    view = with_rounds(view, 3)
    view["train"]["curve"][1]["learners_alive"] = 1

    for plot in plots(view):
        ticks = re.findall(r'class="tick" text-anchor="middle">([^<]+)<', plot)
        assert ticks == ["1", "2", "3"]
        assert re.search(r'class="tick" text-anchor="end">0\b', plot)
    assert re.findall(r'class="tick" text-anchor="end">([^<]+)<', plots(view)[3]) == ["0", "1", "2"]


def test_utilisation_is_drawn_on_the_whole_scale(view: dict[str, Any]) -> None:
    (plot, *_) = plots(view)

    assert "100\N{NO-BREAK SPACE}%" in plot
    assert "computing from 90\N{NO-BREAK SPACE}% to 89\N{NO-BREAK SPACE}%" in plot


@pytest.mark.parametrize(
    ("strategy", "is_said"), [("streaming", True), ("async", True), ("diloco", False), ("sync", False)]
)
def test_where_work_may_begin_before_its_round_the_caption_says_that_one_may_exceed_the_whole(
    view: dict[str, Any], strategy: str, is_said: bool
) -> None:
    view["train"]["strategy"] = strategy

    html = re.sub(r"\s+", " ", render_report(view).replace("\N{NO-BREAK SPACE}", " "))

    assert ("a single round may exceed 100 %.</figcaption>" in html) is is_said


def test_many_rounds_are_thinned_and_the_last_is_kept(view: dict[str, Any]) -> None:
    view = with_rounds(view, 5000)
    view["train"]["curve"][-1]["utilisation"] = 0.123

    for plot in plots(view):
        (points, *_) = re.findall(r'<polyline[^>]*points="([^"]*)"', plot)
        assert len(points.split()) <= 462
    assert "12\N{NO-BREAK SPACE}%" in plots(view)[0]


@pytest.mark.parametrize(
    ("num_rounds", "name"),
    [
        (200, "All rounds as a table"),
        (400, "One round in 2 as a table"),
        (1001, "Every 6th round as a table"),
    ],
)
def test_a_long_table_of_rounds_says_which_it_shows(view: dict[str, Any], num_rounds: int, name: str) -> None:
    found, rows = rows_of_rounds(with_rounds(view, num_rounds))

    assert found == name
    assert len(rows) <= 201
    assert (rows[0]["round"], rows[-1]["round"]) == (1, num_rounds)


def test_a_training_tells_its_bytes_its_utilisation_and_its_notices(view: dict[str, Any]) -> None:
    html = re.sub(r"\s+", " ", render_report(view).replace("\N{NO-BREAK SPACE}", " "))

    assert "1 min 02 s of computing, a utilisation of 90 %." in html
    assert (
        "9.93 MB of updates (<code>int8</code>) went up to the coordinator and 29.8 MB (<code>fp32</code>) "
        "came down to the learners." in html
    )
    assert "24 updates entered the model, 1 came too late or could not be used." in html
    assert "1 notice during training" in html
    assert "learner 1 was lost in round 6" in html


def test_an_older_training_tells_what_it_knows(view: dict[str, Any]) -> None:
    unknown = ("codec", "download_codec", "bytes_up", "bytes_down", "utilisation", "num_dropped")
    view["train"].update(dict.fromkeys(unknown), num_updates=None, notices=[])

    html = re.sub(r"\s+", " ", render_report(view).replace("\N{NO-BREAK SPACE}", " "))

    assert "1 min 02 s of computing. 39.7 MB went between the learners." in html
    assert "during training" not in html and "None" not in html


def test_bytes_between_the_learners_of_a_gang_are_told(view: dict[str, Any]) -> None:
    view["train"].update(bytes_sent=139_729_024, strategy="sync")

    html = render_report(view).replace("\N{NO-BREAK SPACE}", " ")

    assert "100 MB went between them." in html
