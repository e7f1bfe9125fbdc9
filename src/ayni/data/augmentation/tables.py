"""Views of rows of a table: noise in each column, values of another row of the class, SMOTE.

Nothing leaves its class, so that labels stay. Columns of whole numbers that name categories are changed as
any other by noise and SMOTE: use `swap_columns` for them.

Legend: N rows, D columns.

Not covered: rules between columns (a sum that must hold).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.augmentation.images import AugmentationInputError
from ayni.data.augmentation.operations import ColumnNoise, Smote, SwapColumns
from ayni.data.augmentation.policy import Policy
from ayni.data.records import Records


def augment_rows(
    rows_ND: torch.Tensor,
    labels_N: torch.Tensor,
    policy: Policy,
    *,
    generator: torch.Generator,
    deviation_D: torch.Tensor | None = None,
) -> torch.Tensor:
    """One view of each row of a batch; other rows of a class are those of the batch.

    Args:
        rows_ND: float32.
        labels_N: class numbers; the other rows of the class lend their values.
        policy: for tables.
        generator: of every draw; on the CPU.
        deviation_D: standard deviation of each column; None = that of the batch.

    Raises:
        AugmentationInputError: not float32 [N, D], labels of another length, or a policy for other data.
    """
    if policy.kind != "table":
        raise AugmentationInputError(f"The policy {policy.name} is for {policy.kind}, not for tables.")
    if rows_ND.ndim != 2 or rows_ND.dtype != torch.float32 or labels_N.shape != (len(rows_ND),):
        raise AugmentationInputError(
            f"Rows are expected as float32 [N, D] with labels [N]; these are {rows_ND.dtype} "
            f"{tuple(rows_ND.shape)} and {tuple(labels_N.shape)}."
        )
    seen = rows_ND.clone()
    for operation in policy.operations:
        if isinstance(operation, ColumnNoise):
            scale_D = rows_ND.std(0, correction=0) if deviation_D is None else deviation_D.to(rows_ND)
            noise_ND = torch.randn(rows_ND.shape, generator=generator).to(rows_ND.device)
            seen += operation.deviation * scale_D * noise_ND
        elif isinstance(operation, SwapColumns):
            lender_ND = _lenders(labels_N, rows_ND.shape[1], generator).to(rows_ND.device)
            taken_ND = torch.rand(rows_ND.shape, generator=generator) < operation.rate
            seen = torch.where(taken_ND.to(rows_ND.device), seen.gather(0, lender_ND), seen)
        elif isinstance(operation, Smote):
            seen = _smote(seen, labels_N, operation, generator)
    return seen


def smote_records(records: Records, *, num: int, neighbours: int = 5, seed: int = 0) -> Records:
    """`num` new records between a record and one of its nearest of its class; classes as often as there.

    Cost: O(N^2 D) for a class of N records; a class of one record gives copies of it.

    Source: Chawla et al., "SMOTE", JAIR 16, 2002. Theirs visits each record equally often, ours draws them.

    Raises:
        ValueError: `num` is below 1 or `neighbours` below 1.
    """
    if num < 1 or neighbours < 1:
        raise ValueError(f"num and neighbours are 1 or more, not {num} and {neighbours}")
    rng = np.random.default_rng(seed)
    flat_ND = records.inputs.reshape(len(records), -1)
    starts_M = rng.integers(len(records), size=num)
    made_MD = flat_ND[starts_M].copy()
    for label in np.unique(records.labels):
        members = np.flatnonzero(records.labels == label)
        chosen = np.flatnonzero(records.labels[starts_M] == label)
        if len(members) < 2 or not len(chosen):
            continue
        nearest_NK = _nearest_of(flat_ND[members], neighbours)
        place = np.searchsorted(members, starts_M[chosen])
        column = rng.integers(nearest_NK.shape[1], size=len(chosen))
        other_MD = flat_ND[members[nearest_NK[place, column]]]
        share_M1 = rng.random((len(chosen), 1), dtype=np.float32)
        made_MD[chosen] += share_M1 * (other_MD - made_MD[chosen])
    return Records(
        inputs=made_MD.reshape(num, *records.inputs.shape[1:]).astype(np.float32),
        labels=records.labels[starts_M],
    )


def _nearest_of(points_ND: NDArray[np.float32], neighbours: int) -> NDArray[np.int64]:
    """For each point the numbers of its nearest others, [N, K]."""
    wide = points_ND.astype(np.float64)
    squares_N = (wide**2).sum(1)
    distances_NN = squares_N[:, None] + squares_N - 2 * wide @ wide.T
    np.fill_diagonal(distances_NN, np.inf)
    num = min(neighbours, len(points_ND) - 1)
    found: NDArray[np.int64] = np.argpartition(distances_NN, num - 1, axis=1)[:, :num]
    return found


def _lenders(labels_N: torch.Tensor, num_columns: int, generator: torch.Generator) -> torch.Tensor:
    """For each value a row of the same class that lends it, [N, D]; maybe the row itself."""
    lender_ND = torch.empty(len(labels_N), num_columns, dtype=torch.int64)
    for label in torch.unique(labels_N):
        members = torch.nonzero(labels_N == label)[:, 0].to("cpu")
        drawn = torch.randint(len(members), (len(members), num_columns), generator=generator)
        lender_ND[members] = members[drawn]
    return lender_ND


def _smote(
    rows_ND: torch.Tensor, labels_N: torch.Tensor, operation: Smote, generator: torch.Generator
) -> torch.Tensor:
    """Rows moved towards a near row of their class; a row that is alone in its class stays."""
    num = len(rows_ND)
    distance_NN = torch.cdist(rows_ND, rows_ND).to("cpu")
    is_other_NN = (labels_N[:, None] != labels_N).to("cpu")
    distance_NN[is_other_NN | torch.eye(num, dtype=torch.bool)] = torch.inf
    nearest = distance_NN.topk(min(operation.neighbours, num), dim=1, largest=False)
    num_near_N = nearest.values.isfinite().sum(1)
    column_N = (torch.rand(num, generator=generator) * num_near_N).floor().to(torch.int64)
    other_N = nearest.indices.gather(1, column_N[:, None])[:, 0]
    share_N = torch.rand(num, generator=generator)
    share_N *= (torch.rand(num, generator=generator) < operation.probability) & (num_near_N > 0)
    return torch.lerp(rows_ND, rows_ND[other_N.to(rows_ND.device)], share_N.to(rows_ND)[:, None])
