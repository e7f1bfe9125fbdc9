import math
from collections.abc import Callable

import pytest

from ayni.train.strategy_config import (
    AdapterConfig,
    AggregationConfig,
    AsyncConfig,
    StreamingConfig,
    check_range,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AggregationConfig(rule="vote"), "aggregation.rule must be one of mean, .* not 'vote'"),
        (lambda: AggregationConfig(rule="krum"), "krum needs aggregation.num_faulty"),
        (lambda: AggregationConfig(clip_factor=0.5), "aggregation.clip_factor must be at least 1, not 0.5"),
        (lambda: StreamingConfig(fragments=0), "streaming.fragments must be at least 1, not 0"),
        (lambda: StreamingConfig(mixing=1.0), "streaming.mixing must be from 0 to 0.999, not 1.0"),
        (lambda: AsyncConfig(method="gossip"), "asynchronous.method must be one of delayed_nesterov"),
        (lambda: AsyncConfig(max_staleness=-1), "asynchronous.max_staleness must be at least 0, not -1"),
        (lambda: AdapterConfig(alpha=0.0), "adapter.alpha must be greater than 0, not 0.0"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_in_no_range(value: float) -> None:
    with pytest.raises(ValueError, match="x must be at least 0"):
        check_range("x", value, low=0)


@pytest.mark.parametrize(
    ("config", "smallest"),
    [
        (AggregationConfig(), 1),
        (AggregationConfig(bucket_size=3), 1),
        (AggregationConfig(rule="median", num_faulty=2), 5),
        (AggregationConfig(rule="multi_krum", num_faulty=2), 7),
        (AggregationConfig(rule="bulyan", num_faulty=1), 7),
        (AggregationConfig(rule="krum", num_faulty=1, bucket_size=2), 10),
    ],
)
def test_a_rule_says_how_many_updates_it_needs(config: AggregationConfig, smallest: int) -> None:
    assert config.smallest_cohort == smallest
