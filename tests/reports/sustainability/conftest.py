import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.sums.entries import entry_of_receipt
from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile, ImportRequest, import_codecarbon
from ayni.reports.sustainability.inputs import ReportInputs
from ayni.signing import FIRST_OF_CHAIN, SigningKey, load_or_create_key, sign_record

GOLDEN = Path(__file__).parent.parent.parent / "footprint" / "golden" / "receipt_2.json"
UNSIGNED = {
    name: value
    for name, value in json.loads(GOLDEN.read_text()).items()
    if name not in ("hash", "public_key", "signature")
}
NOW = datetime(2026, 12, 1, tzinfo=UTC)
Kept = Callable[..., KeptFootprint]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "keys" / "signing.pem")


@pytest.fixture
def kept(key: SigningKey) -> Kept:
    """A run whose receipts are the golden one with changes, one dictionary of changes a step."""

    def make(run: str, *steps: dict[str, Any], by: SigningKey = key, **common: Any) -> KeptFootprint:
        receipts, previous = [], FIRST_OF_CHAIN
        for number, changes in enumerate(steps or ({},), start=1):
            body = {**copy.deepcopy(UNSIGNED), "run": run, "step": f"step-{number}", **common, **changes}
            receipts.append(sign_record({**body, "previous_hash": previous}, by))
            previous = receipts[-1]["hash"]
        entries = [entry_of_receipt(receipt, Path(f"{run}.json")) for receipt in receipts]
        return KeptFootprint(name=run, path=Path(run), entries=tuple(entries), receipts=tuple(receipts))

    return make


@pytest.fixture
def unknown() -> dict[str, Any]:
    """Changes that make a step's energy, and what follows from it, unknown."""
    carbon = {**UNSIGNED["carbon"], "facility_microjoules_by_link": {}}
    return {
        **dict.fromkeys(("energy_microjoules", "energy_low_microjoules", "energy_high_microjoules")),
        "facility_energy_microjoules": None,
        "tier": "W5",
        "carbon": {**carbon, **dict.fromkeys(("grams_co2e", "low_grams_co2e", "high_grams_co2e"))},
        "water": {**UNSIGNED["water"], "on_site_litres": None, "off_site_litres": None},
        "cost": {**UNSIGNED["cost"], "electricity_microcredits": None},
        "node_account": dict.fromkeys(UNSIGNED["node_account"]),
    }


@pytest.fixture
def imported(tmp_path: Path) -> ImportedFile:
    """Two runs of CodeCarbon, 1 kWh at the machines each."""
    path = tmp_path / "emissions.csv"
    path.write_text(
        "timestamp,project_name,run_id,duration,emissions,energy_consumed,country_iso_code,codecarbon_version,pue\n"
        "2026-03-01T14:00:00,vision,run-1,7200,0.6,1.5,DEU,3.3.2,1.5\n"
        "2026-04-01T14:00:00,vision,run-2,7200,0.6,1.5,DEU,3.3.2,1.5\n"
    )
    request = ImportRequest(member="lab-b", imported_by="maria")
    return import_codecarbon(path, imports=tmp_path / "footprint", request=request, now=NOW)


@pytest.fixture
def inputs(kept: Kept, key: SigningKey) -> Callable[..., ReportInputs]:
    def make(*given: KeptFootprint, **changes: Any) -> ReportInputs:
        runs = given or (kept("run-a"),)
        return ReportInputs(**{"kept": runs, "made_at": NOW, "public_key": key.public_key, **changes})

    return make
