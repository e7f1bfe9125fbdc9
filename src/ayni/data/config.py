"""What a job may say of its data: where they are, how they are read and split, and how they are augmented.

Light on purpose (no numpy, no torch): `ayni plan` reads it too. Field names are the keys of `data` in
job.yaml.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from ayni.data.augmentation.operations import FORBID_EXTRA
from ayni.data.augmentation.policy import AugmentConfig

Format = Literal["auto", "arrays", "images", "csv", "parquet", "text", "dataset"]
Missing = Literal["refuse", "drop", "mean"]
# What changes how examples are read; the rest is said about them or done to them.
READING_KEYS = (
    "source",
    "format",
    "label",
    "columns",
    "subset",
    "encoding",
    "missing",
    "size",
    "validation_share",
    "test_share",
    "seed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The `data` part of a job.

    source: a file, a folder, a URL that fsspec knows, or the page of a data set on a hub; not given = the
        task brings its own data.
    format: what the source is; `auto` tells by names and endings.
    label: the column (or array) with the class.
    columns: the columns with the inputs; none named = all but the label.
    subset: a configuration of a data set repository; not given = the default one.
    encoding: of text and CSV files.
    missing: what is done with an empty cell or NaN: refused with its row, its row dropped, or the column's
        mean.
    size: height and width that images are brought to; not given = images must be of one size.
    validation_share, test_share: shares of the examples, where the source has no such splits itself.
    seed: of the split. It is not the job's, so that jobs with several seeds are judged on the same examples.
    name, licence, attribution: what the data card says.
    augment: what is done to the batches of training.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    source: str | None = None
    format: Format = "auto"
    label: str = "label"
    columns: tuple[str, ...] = ()
    subset: str | None = None
    encoding: str = "utf-8"
    missing: Missing = "refuse"
    size: tuple[int, ...] = ()
    validation_share: float = 0.15
    test_share: float = 0.15
    seed: int = 0
    name: str | None = None
    licence: str | None = None
    attribution: str | None = None
    augment: AugmentConfig | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            default = {field.name: field.default for field in fields(self)}
            given = [key for key in fields(self) if getattr(self, key.name) != default[key.name]]
            others = [key.name for key in given if key.name != "augment"]
            if others:
                raise ValueError(f"data.{others[0]} is about data.source, which is not given")
        if self.size and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"data.size is height and width, as in [28, 28], not {list(self.size)}")
        shares = (self.validation_share, self.test_share)
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(
                "data.validation_share and data.test_share are 0 or more and together below 1, not "
                f"{shares[0]:g} and {shares[1]:g}"
            )
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"data.encoding is {self.encoding!r}, which Python does not know") from error

    def reading(self) -> dict[str, Any]:
        """What decides which examples are read, as plain values."""
        return {
            key: list(value) if isinstance(value := getattr(self, key), tuple) else value
            for key in READING_KEYS
        }
