"""What a task says about its data, and what it leaves unsaid."""

from typing import Any

import pytest

from ayni.data.card import DataCard, DataCardError, read_data_card
from ayni.task import TaskFailedError


class WithCard:
    def __init__(self, stated: Any) -> None:
        self.stated = stated

    def data_card(self) -> Any:
        if isinstance(self.stated, Exception):
            raise self.stated
        return self.stated


def read(stated: Any) -> DataCard:
    return read_data_card(WithCard(stated))  # type: ignore[arg-type]


def test_a_task_without_a_card_leaves_everything_unknown() -> None:
    card = read_data_card(object())  # type: ignore[arg-type]

    assert card == DataCard()
    assert card.unknown == ["name", "licence", "source", "attribution"]


def test_a_stated_licence_is_kept_and_an_empty_one_is_unknown() -> None:
    assert read({"licence": "cc-by-sa-3.0"}).licence == "cc-by-sa-3.0"
    assert read({"licence": ""}).licence is None


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"license": "mit"}, "Did you mean 'licence'"),
        ({"rows": "many"}, "rows is 'many'"),
        ({"rows": -1}, "rows is -1"),
        ({"name": 3}, "name is 3"),
        (["mit"], "expected a mapping"),
    ],
)
def test_a_card_that_cannot_be_understood_is_refused(stated: Any, message: str) -> None:
    with pytest.raises(DataCardError, match=message):
        read(stated)


def test_a_card_that_raises_is_the_tasks_failure() -> None:
    with pytest.raises(TaskFailedError, match="no network"):
        read(OSError("no network"))


def test_json_gives_the_same_card_back() -> None:
    card = read({"name": "MNIST", "rows": 5000})

    assert DataCard.from_json(card.to_json()) == card
