"""Make synthetic examples: learn a generator or take a published one, sample, audit, publish.

    source - learn (train or fit) -> generator -> samples - audit -> card -> publish

What may be published: examples and generator, never the records. A failed audit stops the publication
unless somebody insists, and the card says so then.

Not covered: generators with differential privacy, and sampling until an audit passes: that would be
choosing by the audit what the audit is to judge.
"""

import io
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.arrays_file import write_records
from ayni.data.audit.generator_audit import audit_generated
from ayni.data.generation.generator import WEIGHTS_FILE, Generator, Train, fit_generator, load_generator
from ayni.data.generation.generator_card import CARD_FILE
from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.records import Records
from ayni.errors import MissingExtraError, UserError
from ayni.files import make_folder, write_atomically
from ayni.hub.config import CONFIG_FILE, FULL, ModelConfig
from ayni.hub.publishing import Hub
from ayni.hub.repositories import Published
from ayni.signing import sha256_hex
from ayni.workflows.generator_readme import generator_readme

if TYPE_CHECKING:
    from ayni.hub.snapshots import Snapshot

SAMPLES_FILE, SHEET_FILE, README_FILE = "samples.npz", "samples.png", "README.md"
TASK_MODULE, TASK_NAME = "generator_task.py", "generator_task:task"
MAX_SHEET_COLUMNS, MAX_SHEET_ROWS = 20, 30
_TASK_TEXT = b'''"""Builds the network of this generator. What it learned from is not here."""

from pathlib import Path

from ayni.data.generation.generator_task import published_task


def task():
    return published_task(Path(__file__).parent)
'''


class AuditForbidsPublishingError(UserError):
    """The leak audit of generated data failed, and they were to be published."""

    def __init__(self, reasons: str) -> None:
        super().__init__(
            f"Nothing was published: the leak audit failed ({reasons}). Train for fewer steps or on more "
            "records, or use --kind gaussian with more --shrinkage. --publish-anyway publishes, and the card "
            "says so."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """Records to learn from, records of the same source that are kept apart, and what is known of them."""

    records: Records
    unseen: Records | None = None
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A generator, what it made, and where they were written; `published` None means nowhere."""

    generator: Generator
    samples: Records
    folder: Path
    sheet: Path | None
    published: Published | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        published = self.published
        return {
            "folder": str(self.folder),
            "samples": str(self.folder / SAMPLES_FILE),
            "num_samples": len(self.samples),
            "sheet": None if self.sheet is None else str(self.sheet),
            "generator": self.generator.card.to_json(),
            "published": None if published is None else published.to_json(),
        }


def learn_generator(real: Real, settings: GeneratorSettings, *, seed: int, train: Train | None) -> Generator:
    """A generator of the records. The unseen ones are used for nothing but the audit."""
    return fit_generator(
        real.records, settings, seed=seed, train=train, source=real.source, licence=real.licence
    )


def audit_samples(generator: Generator, samples: Records, real: Real, *, seed: int) -> Generator:
    """The generator whose card says what the leak audit found; as it was when there is nothing unseen.

    Raises:
        RecordsError: the unseen records are of another form.
    """
    if real.unseen is None:
        return generator
    found = audit_generated(samples, real.records, real.unseen, seed=seed).to_json()
    # Pairs name rows of the records, and curves are long: the card has the verdict and its numbers.
    kept = ("num_generated", "near_copies", "attack", "utility", "verdict")
    short = {name: found[name] for name in kept}
    short["attack"] = {name: value for name, value in found["attack"].items() if name != "curve"}
    return generator.audited(short)


def write_made(generator: Generator, samples: Records, folder: Path) -> Made:
    """Write the generator, its samples, a sheet of them where they are images, and the card."""
    make_folder(folder)
    generator.save(folder)
    write_records(samples, folder / SAMPLES_FILE)
    sheet = contact_sheet(samples, image_shape=generator.card.form.image_shape)
    if sheet is not None:
        write_atomically(folder / SHEET_FILE, sheet)
    made = Made(
        generator=generator,
        samples=samples,
        folder=folder,
        sheet=None if sheet is None else folder / SHEET_FILE,
    )
    write_atomically(folder / README_FILE, _readme(made).encode())
    return made


def _readme(made: Made, *, repository: str | None = None) -> str:
    return generator_readme(
        made.generator.card, made.samples, has_sheet=made.sheet is not None, repository=repository
    )


def publish_made(
    made: Made,
    hub: Hub,
    repository: str,
    *,
    node: str,
    when: datetime,
    samples_only: bool = False,
    anyway: bool = False,
) -> Made:
    """A new revision with samples and card, and with the generator unless only samples are to be shared.

    Raises:
        AuditForbidsPublishingError: the audit failed, and nobody insisted.
        RepositoryNameError and others of `Hub.publish`.
    """
    audit = made.generator.card.audit
    if audit is not None and audit["verdict"]["kind"] == "fail" and not anyway:
        raise AuditForbidsPublishingError("; ".join(audit["verdict"]["reasons"]))
    files: dict[str, Path | bytes] = {
        README_FILE: _readme(made, repository=repository).encode(),
        SAMPLES_FILE: made.folder / SAMPLES_FILE,
    }
    if made.sheet is not None:
        files[SHEET_FILE] = made.sheet
    if not samples_only:
        files |= {CARD_FILE: made.folder / CARD_FILE, WEIGHTS_FILE: made.folder / WEIGHTS_FILE}
        files |= _model_files(made.generator)
    owner = repository.partition("/")[0]
    published = hub.publish(
        repository,
        files,
        message=f"Publish synthetic examples ({made.generator.card.kind})",
        author=f"{owner} <{owner}@{node}>",
        when=when,
    )
    return replace(made, published=published)


def _model_files(generator: Generator) -> dict[str, Path | bytes]:
    """What makes a network a model of the hub: its task and config.json. Fitted kinds are no networks."""
    card = generator.card
    if not card.settings.is_neural:
        return {}
    from ayni.data.generation.generator_task import noise_size_of

    config = ModelConfig(
        task=TASK_NAME,
        task_sha256=sha256_hex(_TASK_TEXT),
        architecture=type(generator.network()).__name__,
        input_shape=(noise_size_of(card.settings, card.form) + card.num_classes,),
        variants={FULL: WEIGHTS_FILE},
    )
    return {
        TASK_MODULE: _TASK_TEXT,
        CONFIG_FILE: json.dumps(config.to_json(), indent=2).encode() + b"\n",
    }


def find_generator(hub: Hub, reference: str) -> tuple[Generator, "Snapshot"]:
    """A published generator by `owner/name` or `owner/name@revision`. None of its code is run.

    Raises:
        RepositoryNotFoundError, RevisionNotFoundError: there is none.
        DamagedFileError: a file is not what was published.
        DamagedGeneratorError: the revision holds no generator, or samples only.
    """
    name, _, revision = reference.partition("@")
    snapshot = hub.find(name, revision or None)
    snapshot.verify()
    return load_generator(snapshot.folder), snapshot


def contact_sheet(records: Records, *, image_shape: tuple[int, int, int] | None) -> bytes | None:
    """A PNG with a row of examples for each class; None when inputs are no images.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    if image_shape is None or image_shape[0] not in (1, 3):
        return None
    images_NHWC = np.moveaxis(records.inputs.reshape(-1, *image_shape), 1, 3)
    low, high = float(images_NHWC.min()), float(images_NHWC.max())
    shown = np.rint(255 * (images_NHWC - low) / ((high - low) or 1.0)).astype(np.uint8)
    classes = np.unique(records.labels)[:MAX_SHEET_ROWS]
    rows = [shown[records.labels == label][:MAX_SHEET_COLUMNS] for label in classes]
    height, width = image_shape[1:]
    columns = max(len(row) for row in rows)
    # White between the images, of one pixel in the images' own size.
    sheet = np.full((len(rows) * (height + 1) + 1, columns * (width + 1) + 1, image_shape[0]), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * (height + 1) + 1, column * (width + 1) + 1
            sheet[top : top + height, left : left + width] = image
    return _png(_enlarged(sheet, side=max(height, width)))


def _enlarged(sheet: NDArray[np.uint8], *, side: int) -> NDArray[np.uint8]:
    """Small images larger, so that about 40 pixels show one."""
    factor = max(1, 40 // side)
    return sheet.repeat(factor, axis=0).repeat(factor, axis=1)


def _png(pixels_HWC: NDArray[np.uint8]) -> bytes:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(extra="data", package="pillow") from error
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[2] == 1 else pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()
