"""Import what another tool measured, told apart from what was metered here.

Not covered: reading the file (`ayni.footprint.sums.codecarbon_files`).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.footprint.sums.third_party import ImportRequest, import_codecarbon
from ayni.settings import read_settings
from ayni.workflows.footprint_references import measurements_folder


def import_footprint(
    file: Path, request: ImportRequest, *, home: Path | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Keep an emissions.csv of CodeCarbon in this home; returns its statement with its id as `import`.

    Raises:
        GridFileError: the file is not one, or a line of it is broken.
        AlreadyImportedError: it was imported before.
        NotWritableError: the home cannot be written.
    """
    imports = measurements_folder(read_settings(home=home))
    imported = import_codecarbon(file, imports=imports, request=request, now=now or datetime.now(UTC))
    energy = sum(entry.energy.value for entry in imported.entries if entry.energy is not None)
    grams = sum(entry.carbon.value for entry in imported.entries if entry.carbon is not None)
    return {**imported.to_json(), "energy_microjoules": energy, "grams_co2e": grams}
