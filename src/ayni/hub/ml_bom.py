"""A CycloneDX bill of materials of a model: what it is, what it is made of, what it cost, what its files are.

    metadata.component      the model: name, revision, licence, model card with results and energy
    components              its files with their SHA-256, the data, the base models
    dependencies            which of them it comes from
    properties of a file    its size, and what the content scan found

The document holds nothing that changes between two calls for the same revision: its serial number is made of
the revision, and its time is the commit's.

Not covered: CycloneDX as XML, libraries that the training used, and SPDX.

Source: CycloneDX 1.6, JSON schema (`modelCard`, `environmentalConsiderations`, ECMA-424).
"""

import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ayni.hub.licences import KNOWN_LICENCES, licence_identifier

SPEC_VERSION = "1.6"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/bom/ayni")
# Identifiers of SPDX where they differ from those of the Hugging Face Hub by more than letter case.
_SPDX = {
    "agpl-3.0": "AGPL-3.0-only",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0",
    "cdla-permissive-1.0": "CDLA-Permissive-1.0",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "epl-2.0": "EPL-2.0",
    "eupl-1.2": "EUPL-1.2",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "isc": "ISC",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "odc-by": "ODC-By-1.0",
    "psf-2.0": "PSF-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BomFile:
    """A file of the model, and what a scan found in it."""

    path: str
    sha256: str
    size_bytes: int
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BomParent:
    """A base model or a data set. `revision` is empty where it is not known."""

    name: str
    kind: str
    relation: str = ""
    licences: tuple[str, ...] = ()
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BomSubject:
    """What a bill of materials is about.

    `card` are the metadata of its README; `joules` and `grams_co2e` come from verified receipts, None = not
    known.
    """

    repository: str
    revision: str
    committed_at: datetime
    url: str
    card: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[BomFile] = ()
    parents: Sequence[BomParent] = ()
    joules: float | None = None
    grams_co2e: float | None = None


def cyclonedx(subject: BomSubject) -> dict[str, Any]:
    """The bill of materials as JSON values."""
    root = f"{subject.repository}@{subject.revision}"
    parents = [_parent(each) for each in subject.parents]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, root)}",
        "version": 1,
        "metadata": {
            "timestamp": subject.committed_at.isoformat(),
            "tools": {"components": [{"type": "application", "name": "Ayni"}]},
            "component": _model(subject, root),
        },
        "components": [*(_file(root, each) for each in subject.files), *parents],
        "dependencies": [{"ref": root, "dependsOn": sorted({each["bom-ref"] for each in parents})}],
    }


def licences_of(given: Sequence[str]) -> list[dict[str, Any]]:
    """Licences as CycloneDX wants them: by SPDX identifier where there is one, else by name."""
    found = []
    for each in given:
        identifier = licence_identifier(each)
        spdx = _SPDX.get(identifier) or (
            identifier.upper() if identifier.startswith("cc-by") and identifier in KNOWN_LICENCES else None
        )
        found.append({"license": {"id": spdx} if spdx else {"name": each}})
    return found


def _model(subject: BomSubject, root: str) -> dict[str, Any]:
    namespace, _, name = subject.repository.rpartition("/")
    place = urllib.parse.quote(subject.url, safe="")
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": root,
        "group": namespace,
        "name": name,
        "version": subject.revision,
        "purl": f"pkg:huggingface/{subject.repository}@{subject.revision}?repository_url={place}",
        "externalReferences": [{"type": "distribution", "url": f"{subject.url}/{subject.repository}"}],
        "modelCard": _model_card(subject),
    }
    if given := _texts(subject.card.get("license")):
        component["licenses"] = licences_of(given)
    if tags := _texts(subject.card.get("tags")):
        component["tags"] = tags
    return component


def _model_card(subject: BomSubject) -> dict[str, Any]:
    card = subject.card
    parameters: dict[str, Any] = {}
    if task := card.get("pipeline_tag"):
        parameters["task"] = str(task)
    data = [each for each in subject.parents if each.kind == "dataset"]
    if data:
        parameters["datasets"] = [{"ref": _reference(each)} for each in data]
    found: dict[str, Any] = {}
    if parameters:
        found["modelParameters"] = parameters
    if metrics := _metrics(card.get("model-index")):
        found["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if subject.joules is not None:
        found["considerations"] = {"environmentalConsiderations": _environment(subject)}
    if relations := [each for each in subject.parents if each.kind != "dataset" and each.relation]:
        found["properties"] = [
            {"name": "ayni:base_model_relation", "value": f"{each.relation} of {each.name}"}
            for each in relations
        ]
    return found


def _environment(subject: BomSubject) -> dict[str, Any]:
    assert subject.joules is not None
    consumption: dict[str, Any] = {
        "activity": "training",
        # CycloneDX counts in kilowatt-hours, and carbon in tonnes.
        "activityEnergyCost": {"value": subject.joules / 3.6e6, "unit": "kWh"},
        "energyProviders": [],
    }
    if subject.grams_co2e is not None:
        consumption["co2CostEquivalent"] = {"value": subject.grams_co2e / 1e6, "unit": "tCO2eq"}
    return {"energyConsumptions": [consumption]}


def _metrics(index: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for model in index if isinstance(index, list) else []:
        for result in _dicts(model, "results"):
            dataset = result.get("dataset")
            named = str(dataset.get("name", "")) if isinstance(dataset, dict) else ""
            for metric in _dicts(result, "metrics"):
                if metric.get("type") and metric.get("value") is not None:
                    found.append({"type": str(metric["type"]), "value": str(metric["value"]), "slice": named})
    return found


def _dicts(holder: Any, key: str) -> list[dict[str, Any]]:
    values = holder.get(key) if isinstance(holder, dict) else None
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _file(root: str, file: BomFile) -> dict[str, Any]:
    properties = [{"name": "ayni:size_bytes", "value": str(file.size_bytes)}]
    if file.verdict:
        properties.append({"name": "ayni:content_scan", "value": file.verdict})
    return {
        "type": "file",
        "bom-ref": f"{root}#{file.path}",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": properties,
    }


def _reference(parent: BomParent) -> str:
    return f"{parent.kind}:{parent.name}" + (f"@{parent.revision}" if parent.revision else "")


def _parent(parent: BomParent) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "data" if parent.kind == "dataset" else "machine-learning-model",
        "bom-ref": _reference(parent),
        "name": parent.name,
    }
    if parent.revision:
        component["version"] = parent.revision
    if parent.licences:
        component["licenses"] = licences_of(parent.licences)
    return component


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(each for each in values if isinstance(each, str) and each.strip()))
