"""Watch what a run has used against its limits, while it works.

Not covered: stopping in the middle of a round. What is asked after each round can overshoot by one.
"""

from pathlib import Path

from ayni.errors import UserError
from ayni.files import read_json_lines
from ayni.footprint.grid.carbon import CarbonIntensity
from ayni.footprint.windows.window_file import job_microjoules
from ayni.market.offers import Limits
from ayni.market.own_machine import OwnMachine
from ayni.units import MICROCREDITS_PER_CREDIT, MICROJOULES_PER_JOULE, joules_to_kwh


class LimitReachedError(UserError):
    """A limit of the job is used up. What was finished is kept."""

    def __init__(self, *, run: str, limit: str, unit: str, used: float, allowed: float) -> None:
        self.run = run
        self.limit = limit
        self.used = used
        self.allowed = allowed
        super().__init__(
            f"The run {run} has used {used:.4g} {unit} and limits.{limit} allows {allowed:.4g}. What was "
            f"finished is kept. Go on beyond the limit with: ayni resume {run} --yes"
        )


class LimitGuard:
    """Compares the metered use of a run with its limits. A lifted guard lets everything pass."""

    def __init__(
        self,
        *,
        run: str,
        windows_path: Path,
        limits: Limits,
        offer: OwnMachine,
        reserved_cores: int,
        intensity: CarbonIntensity,
        is_lifted: bool,
    ) -> None:
        self._run = run
        self._path = windows_path
        self._limits = limits
        self._offer = offer
        self._reserved_cores = reserved_cores
        self._intensity = intensity
        self._is_lifted = is_lifted

    def check(self) -> None:
        """Do nothing while the run is within its limits.

        Raises:
            LimitReachedError: one of them is used up.
        """
        if self._is_lifted:
            return
        seconds, joules = self._used()
        kwh = joules_to_kwh(joules)
        price = self._offer.price(core_seconds=seconds * self._reserved_cores, energy_joules=joules)
        grams = kwh * self._offer.pue * self._intensity.grams_co2e_per_kwh
        limits = self._limits
        compared = (
            ("credits", "credits", price.total_microcredits / MICROCREDITS_PER_CREDIT, limits.credits),
            ("energy_kwh", "kWh", kwh, limits.energy_kwh),
            ("carbon_grams", "g CO2e", grams, limits.carbon_grams),
            ("deadline", "s", seconds, limits.deadline_seconds),
        )
        for limit, unit, used, allowed in compared:
            if allowed is not None and used > allowed:
                raise LimitReachedError(run=self._run, limit=limit, unit=unit, used=used, allowed=allowed)

    def _used(self) -> tuple[float, float]:
        """Metered seconds and joules of all attempts; windows of unknown energy count as zero here.

        A limit on energy that nothing can meter cannot be watched; the plan has said so by its tier.
        """
        windows = [row for row in read_json_lines(self._path) if row.get("kind") == "window"]
        microjoules = sum(job_microjoules(window, self._run) or 0 for window in windows)
        return sum(window["seconds"] for window in windows), microjoules / MICROJOULES_PER_JOULE
