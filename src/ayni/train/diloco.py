"""DiLoCo's outer step: many local steps, then one Nesterov step over the averaged updates.

        Delta_m = theta - theta_m                 update of learner m: base minus local parameters
        Delta   = sum_m w_m Delta_m,  w_m = n_m / sum n
        b      <- mu b + Delta
        theta  <- theta - eta (Delta + mu b)

Buffers (running means and variances) are averaged plainly, eta = 1 and mu = 0: with momentum a
variance could become negative. eta = 1, mu = 0 for the parameters too is plain averaging.

Source: Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023,
algorithm 1, arXiv:2311.08105. The paper says nothing of buffers; that part is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ayni.train.named_arrays import NamedArrays


def mean_update(updates: Sequence[NamedArrays], num_samples: Sequence[int]) -> NamedArrays:
    """Mean of the updates, weighted by the examples behind each; summed in the order given.

    Raises:
        ValueError: no update, or weights that do not fit.
    """
    if not updates or len(updates) != len(num_samples) or sum(num_samples) <= 0:
        raise ValueError(f"cannot average {len(updates)} updates with the weights {list(num_samples)}")
    total = sum(num_samples)
    mean: NamedArrays = {}
    for name, first in updates[0].items():
        summed = np.zeros_like(first)
        for update, weight in zip(updates, num_samples, strict=True):
            summed += update[name] * first.dtype.type(weight / total)
        mean[name] = summed
    return mean


@dataclass(slots=True)
class OuterState:
    """Parameters on the coordinator and the momentum of the outer step."""

    parameters: NamedArrays
    momentum: NamedArrays = field(default_factory=dict)


def outer_step(
    state: OuterState,
    update: NamedArrays,
    *,
    learning_rate: float,
    momentum: float,
    plain_names: frozenset[str] = frozenset(),
) -> OuterState:
    """The state after one outer step; the given state is not changed.

    Arrays that the update does not name (frozen parameters) stay as they are; those in
    `plain_names` are averaged without momentum.
    """
    parameters = dict(state.parameters)
    momenta = dict(state.momentum)
    for name, delta in update.items():
        base = state.parameters[name]
        if name in plain_names:
            parameters[name] = base - delta
            continue
        factor, rate = base.dtype.type(momentum), base.dtype.type(learning_rate)
        velocity = factor * momenta[name] + delta if name in momenta else delta.copy()
        momenta[name] = velocity
        parameters[name] = base - rate * (delta + factor * velocity)
    return OuterState(parameters, momenta)
