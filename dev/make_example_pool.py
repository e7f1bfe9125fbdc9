"""Make the example pool's files: a small synthetic trace and hourly figures of three made-up grids.

Nothing here is measured. The grids have the shapes that grids have: much sun at noon, water all day, coal all
day; prices that follow carbon in one and not in another.

    python dev/make_example_pool.py
"""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent.parent / "examples" / "pool"
START = datetime(2026, 3, 1, tzinfo=UTC)
NUM_DAYS, NUM_TRACE_DAYS, SEED = 24, 10, 1
JOBS_A_DAY = {"north": 40, "south": 40, "west": 35}


def main() -> None:
    """Write trace.csv, carbon.csv and prices.csv."""
    rng = np.random.default_rng(SEED)
    hours = np.arange(NUM_DAYS * 24)
    of_day = hours % 24
    sun = np.clip(np.sin((of_day - 6) / 12 * np.pi), 0, None)
    weather = np.repeat(rng.uniform(0.4, 1.0, NUM_DAYS), 24)
    evening = np.exp(-(((of_day - 19) / 3.0) ** 2))
    carbon = {
        "NORTH": 45 + 10 * evening + rng.normal(0, 2, len(hours)),
        "SOUTH": 420 - 300 * sun * weather + 60 * evening + rng.normal(0, 10, len(hours)),
        "WEST": 640 + 40 * evening + rng.normal(0, 8, len(hours)),
    }
    prices = {
        "NORTH": 55 + 25 * evening + rng.normal(0, 4, len(hours)),
        "SOUTH": 95 - 90 * sun * weather + 50 * evening + rng.normal(0, 6, len(hours)),
        "WEST": 70 + 20 * evening + rng.normal(0, 4, len(hours)),
    }
    _write_hours("carbon.csv", carbon, decimals=0)
    _write_hours("prices.csv", prices, decimals=1)
    _write_trace(rng)


def _write_hours(name: str, columns: dict[str, np.ndarray], *, decimals: int) -> None:
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["datetime_utc", *columns])
        for hour in range(NUM_DAYS * 24):
            moment = START + timedelta(hours=hour)
            writer.writerow(
                [f"{moment:%Y-%m-%d %H:%M}", *(f"{v[hour]:.{decimals}f}" for v in columns.values())]
            )


def _write_trace(rng: np.random.Generator) -> None:
    """Arrivals by day and night, durations of minutes to days, gangs of 1, 2 and 4."""
    rows = []
    for member, jobs_a_day in JOBS_A_DAY.items():
        for day in range(NUM_TRACE_DAYS):
            for _ in range(rng.poisson(jobs_a_day)):
                hour = rng.normal(14, 4) % 24
                at = START + timedelta(days=day, seconds=round(hour * 3600))
                seconds = round(float(np.clip(rng.lognormal(7.6, 1.6), 60, 3 * 86_400)))
                rows.append((at, seconds, int(rng.choice([1, 2, 4], p=[0.7, 0.2, 0.1])), member))
    with (FOLDER / "trace.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["timestamp", "duration", "machines", "member"])
        writer.writerows((f"{at:%Y-%m-%d %H:%M:%S}", *rest) for at, *rest in sorted(rows))


if __name__ == "__main__":
    main()
