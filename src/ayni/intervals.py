"""How sure a measured share can be.

Not covered: intervals of other metrics, which belong to those who know how the metric came about.
"""

import math

LEVEL = 0.95
NORMAL_QUANTILE = 1.959964  # of (1 + LEVEL) / 2


def wilson_interval(num_right: int, num_examples: int) -> tuple[float, float]:
    """Interval of a share p = k / n at LEVEL.

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Stays inside [0, 1] and does not collapse at p = 1, unlike p +- z sqrt(p (1 - p) / n).

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.

    Raises:
        ValueError: not 0 <= num_right <= num_examples, or no examples.
    """
    if not 0 <= num_right <= num_examples or num_examples == 0:
        raise ValueError(f"{num_right} of {num_examples} is not a share")
    share, z2_n = num_right / num_examples, NORMAL_QUANTILE**2 / num_examples
    centre = share + z2_n / 2
    spread = math.sqrt(z2_n * (share * (1 - share) + z2_n / 4))
    return max(0.0, (centre - spread) / (1 + z2_n)), min(1.0, (centre + spread) / (1 + z2_n))
