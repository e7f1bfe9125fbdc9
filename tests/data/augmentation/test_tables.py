"""Views of rows of a table stay in their class."""

import numpy as np
import pytest
import torch

from ayni.data.augmentation.images import AugmentationInputError
from ayni.data.augmentation.operations import ColumnNoise, Smote, SwapColumns
from ayni.data.augmentation.policy import Policy, named_policy
from ayni.data.augmentation.tables import augment_rows, smote_records
from ayni.data.records import Records


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def only(operation: ColumnNoise | SwapColumns | Smote) -> Policy:
    return Policy(name="one", operations=(operation,))


def test_noise_is_a_share_of_each_columns_deviation() -> None:
    rows = torch.stack(
        [torch.randn(5000, generator=seeded()), 100 * torch.randn(5000, generator=seeded())], 1
    )

    views = augment_rows(rows, torch.zeros(5000), only(ColumnNoise(deviation=0.1)), generator=seeded())

    spread = (views - rows).std(0)
    assert spread[0].item() == pytest.approx(0.1, rel=0.05)
    assert spread[1].item() == pytest.approx(10, rel=0.05)


def test_swapped_values_come_from_the_same_class_and_column() -> None:
    labels = torch.arange(60) % 3
    # The value says class and column.
    rows = labels[:, None] * 100.0 + torch.arange(5) * 10 + torch.rand(60, 5, generator=seeded())

    views = augment_rows(rows, labels, only(SwapColumns(rate=0.5)), generator=seeded())

    assert torch.equal((views / 10).floor(), (rows / 10).floor())
    changed = (views != rows).float().mean()
    assert 0.4 < changed < 0.5


def test_smote_stays_between_two_rows_of_the_class() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0], [10.0, 0.0], [10.0, 2.0], [50.0, 50.0]])
    labels = torch.tensor([0, 0, 1, 1, 2])

    views = torch.stack([augment_rows(rows, labels, only(Smote()), generator=seeded()) for _ in range(3)])[0]

    assert views[0, 0] == views[0, 1]
    assert 0 < views[0, 0] < 1
    assert views[2, 0] == 10
    assert 0 < views[2, 1] < 2
    assert torch.equal(views[4], rows[4])  # alone in its class


def test_new_records_lie_between_nearest_ones_of_their_class() -> None:
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.uniform(0, 1, (50, 2)), rng.uniform(5, 6, (10, 2)), [[9, 9]]]).astype(
        np.float32
    )
    records = Records(inputs=inputs, labels=np.repeat([0, 1, 2], [50, 10, 1]))

    made = smote_records(records, num=610, neighbours=3, seed=1)

    assert 430 < (made.labels == 0).sum() < 570
    assert (made.inputs[made.labels == 0] <= 1).all()
    assert (made.inputs[made.labels == 1] >= 5).all()
    assert (made.inputs[made.labels == 2] == 9).all()
    # With all neighbours but three excluded, a made record is nearer to a real one than the farthest are.
    first = made.inputs[made.labels == 0][0]
    assert np.linalg.norm(inputs[:50] - first, axis=1).min() < 0.3
    again = smote_records(records, num=610, neighbours=3, seed=1)
    assert (again.inputs == made.inputs).all()


@pytest.mark.parametrize(
    ("rows", "policy"),
    [(torch.zeros(3, 1, 2), "table"), (torch.zeros(3, 2), "digits"), (torch.zeros(2, 2), "table")],
)
def test_what_is_no_table_is_refused(rows: torch.Tensor, policy: str) -> None:
    with pytest.raises(AugmentationInputError):
        augment_rows(rows, torch.zeros(3), named_policy(policy), generator=seeded())
