"""A source in numbers, and its content hash by other means."""

import hashlib
from pathlib import Path

import pytest

from ayni.data.config import DataConfig
from ayni.data.description import describe
from ayni.data.sources.collection import SourceError


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    folder = tmp_path / "reviews"
    folder.mkdir()
    for split, count in (("train", 30), ("test", 10)):
        lines = [f"{'good' if row % 3 else 'bad'}\ttext {row}" for row in range(count)]
        (folder / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_a_source_is_counted_as_a_job_would_use_it(reviews: Path) -> None:
    found = describe(DataConfig(source=str(reviews), licence="mit", validation_share=0.1), num_shards=3)

    assert (found.card.name, found.card.licence) == ("reviews", "mit")
    assert (found.card.rows, found.card.classes) == (40, 2)
    assert (found.kind, found.shape) == ("text", None)
    assert found.class_counts == {"bad": 14, "good": 26}
    assert found.split_counts == {"train": 27, "validation": 3, "test": 10}
    assert [sum(shard.values()) for shard in found.shards] == [9, 9, 9]


def test_the_content_hash_can_be_computed_without_ayni(reviews: Path) -> None:
    files = sorted(path for path in reviews.iterdir())
    lines = [f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files]
    (reviews / ".hidden").write_text("does not count", encoding="utf-8")

    found = describe(DataConfig(source=str(reviews)))

    assert found.card.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_shards_differ_as_much_as_they_are_asked_to(reviews: Path) -> None:
    found = describe(DataConfig(source=str(reviews)), num_shards=4, alpha=0.05)

    shares = [shard["bad"] / sum(shard.values()) for shard in found.shards]
    assert max(shares) - min(shares) > 0.5


def test_more_shards_than_rows_are_refused(reviews: Path) -> None:
    with pytest.raises(SourceError, match="cannot be cut into 1000 shards"):
        describe(DataConfig(source=str(reviews)), num_shards=1000)
