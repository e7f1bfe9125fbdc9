"""What a policy may hold: one small value for each operation. Light on purpose: job.yaml is checked with it.

Lengths are shares of the image's side and levels shares of the range from black to white, so that one policy
fits images of any size and range. Angles are in degrees, counter-clockwise. `probability` is that of each
image. `scaled` makes an operation stronger or weaker; 0 makes it do nothing.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeAlias

FORBID_EXTRA = {"extra": "forbid"}


def _check(name: str, **bounds: tuple[float, float, float]) -> None:
    for key, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise ValueError(f"{name}.{key} is from {low:g} to {high:g}, not {value:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Move the image by whole pixels, at most `padding` of its side each way; the border fills in."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    padding: float = 0.125
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("crop", padding=(self.padding, 0, 1), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, padding=min(self.padding * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Mirror left to right, top to bottom, or each of both."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    horizontal: bool = True
    vertical: bool = False
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check("flip", probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """There is no half a flip: only 0 changes anything."""
        return self if strength else replace(self, probability=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """Turn about the centre by an angle between -degrees and +degrees."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    degrees: float = 15.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("rotate", degrees=(self.degrees, 0, 180), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, degrees=min(self.degrees * strength, 180.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Enlarge or shrink about the centre, by a factor between 1 - amount and 1 + amount."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    amount: float = 0.1
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("scale", amount=(self.amount, 0, 0.9), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, amount=min(self.amount * strength, 0.9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shear:
    """Slant left to right by an angle between -degrees and +degrees."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    degrees: float = 10.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("shear", degrees=(self.degrees, 0, 60), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, degrees=min(self.degrees * strength, 60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Add Gaussian noise of this standard deviation, a share of the range; the result is clipped to it."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    deviation: float = 0.05
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("noise", deviation=(self.deviation, 0, 10), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, deviation=min(self.deviation * strength, 10.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Brightness:
    """Add a level between -amount and +amount of the range."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    amount: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("brightness", amount=(self.amount, 0, 1), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, amount=min(self.amount * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Stretch about the image's mean grey by a factor between 1 - amount and 1 + amount."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    amount: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("contrast", amount=(self.amount, 0, 1), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, amount=min(self.amount * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """Move each pixel from its grey by a factor between 1 - amount and 1 + amount (saturation). Needs RGB."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    amount: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("colour", amount=(self.amount, 0, 1), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, amount=min(self.amount * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """Fill a square with one level of the range; its centre is any pixel, its side `size` of the shorter one.

    0.5 is what the paper's zero is after the mean is taken off; parts beyond the border are cut off.

    Source: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017,
    arXiv:1708.04552.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    size: float = 0.25
    level: float = 0.5
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("cutout", size=(self.size, 0, 2), probability=(self.probability, 0, 1))
        _check("cutout", level=(self.level, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, size=min(self.size * strength, 2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMix:
    """Paste a box of another image of the batch; labels are mixed by the area that was really pasted.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", ICCV 2019, arXiv:1905.04899. Ours draws a box for each image, not one for the batch.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    alpha: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check("cutmix", alpha=(self.alpha, 0.01, 100), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """So much more often."""
        return replace(self, probability=min(self.probability * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """Blend with another image of the batch, and their labels alike, by a share from Beta(alpha, alpha).

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412. Ours draws
    a share for each image, not one for the batch.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    alpha: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("mixup", alpha=(self.alpha, 0.01, 100), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """So much more often."""
        return replace(self, probability=min(self.probability * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RandAugment:
    """`operations` random ones of a fixed list for each image, all at one magnitude from 0 to 30; no search.

    Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
    2019, arXiv:1909.13719. What the list holds is SEARCHLESS_LIST.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    operations: int = 2
    magnitude: float = 9.0

    def __post_init__(self) -> None:
        _check("randaugment", operations=(self.operations, 1, 10), magnitude=(self.magnitude, 0, 30))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, magnitude=min(self.magnitude * strength, 30.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrivialAugment:
    """One random operation of the list for each image, at a random magnitude; nothing to tune, no search.

    Source: Mueller & Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021,
    arXiv:2103.10158. What the list holds is SEARCHLESS_LIST.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    magnitude: float = 30.0
    """The largest magnitude that is drawn."""

    def __post_init__(self) -> None:
        _check("trivialaugment", magnitude=(self.magnitude, 0, 30))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, magnitude=min(self.magnitude * strength, 30.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class DropWords:
    """Leave out each word with this probability; at least one stays."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    rate: float = 0.1

    def __post_init__(self) -> None:
        _check("drop_words", rate=(self.rate, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, rate=min(self.rate * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapWords:
    """Exchange each word with its right neighbour with this probability."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    rate: float = 0.1

    def __post_init__(self) -> None:
        _check("swap_words", rate=(self.rate, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, rate=min(self.rate * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TypoNoise:
    """Misspell each character with this probability: left out, doubled, swapped or replaced by another."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    rate: float = 0.02

    def __post_init__(self) -> None:
        _check("typos", rate=(self.rate, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, rate=min(self.rate * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnNoise:
    """Add Gaussian noise to each column: this share of the column's own standard deviation."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    deviation: float = 0.1

    def __post_init__(self) -> None:
        _check("column_noise", deviation=(self.deviation, 0, 10))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, deviation=min(self.deviation * strength, 10.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapColumns:
    """Take each value, with this probability, from another row of the same class."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    rate: float = 0.1

    def __post_init__(self) -> None:
        _check("swap_columns", rate=(self.rate, 0, 1))

    def scaled(self, strength: float) -> Self:
        """The same, `strength` times as strong."""
        return replace(self, rate=min(self.rate * strength, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Smote:
    """A random point between a row and one of its `neighbours` nearest rows of the same class.

    Source: Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 16, 2002,
    doi:10.1613/jair.953. Neighbours are looked for among the rows that are there: of a batch while a model
    trains, of the whole table in `smote_records`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA
    neighbours: int = 5
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check("smote", neighbours=(self.neighbours, 1, 1000), probability=(self.probability, 0, 1))

    def scaled(self, strength: float) -> Self:
        """So much more often."""
        return replace(self, probability=min(self.probability * strength, 1.0))


GeometryOperation: TypeAlias = Crop | Flip | Rotate | Scale | Shear
PixelOperation: TypeAlias = Noise | Brightness | Contrast | Colour | Cutout
MixingOperation: TypeAlias = CutMix | Mixup
SearchlessOperation: TypeAlias = RandAugment | TrivialAugment
ImageOperation: TypeAlias = GeometryOperation | PixelOperation | MixingOperation | SearchlessOperation
TextOperation: TypeAlias = DropWords | SwapWords | TypoNoise
TableOperation: TypeAlias = ColumnNoise | SwapColumns | Smote
Operation: TypeAlias = ImageOperation | TextOperation | TableOperation

# What RandAugment and TrivialAugment draw from: the 14 of the RandAugment paper.
SEARCHLESS_LIST = (
    "identity",
    "shear_x",
    "shear_y",
    "move_x",
    "move_y",
    "turn",
    "autocontrast",
    "equalize",
    "solarize",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "colour",
)
GEOMETRY = (Crop, Flip, Rotate, Scale, Shear)
MIXING = (CutMix, Mixup)
SEARCHLESS = (RandAugment, TrivialAugment)
PIXELS = (Noise, Brightness, Contrast, Colour, Cutout)

# The key of job.yaml by which an operation is named.
IMAGE_OPERATIONS: dict[str, type[ImageOperation]] = {
    "crop": Crop,
    "flip": Flip,
    "rotate": Rotate,
    "scale": Scale,
    "shear": Shear,
    "noise": Noise,
    "brightness": Brightness,
    "contrast": Contrast,
    "colour": Colour,
    "cutout": Cutout,
    "cutmix": CutMix,
    "mixup": Mixup,
    "randaugment": RandAugment,
    "trivialaugment": TrivialAugment,
}
TEXT_OPERATIONS: dict[str, type[TextOperation]] = {
    "drop_words": DropWords,
    "swap_words": SwapWords,
    "typos": TypoNoise,
}
TABLE_OPERATIONS: dict[str, type[TableOperation]] = {
    "column_noise": ColumnNoise,
    "swap_columns": SwapColumns,
    "smote": Smote,
}
OPERATIONS: dict[str, type[Operation]] = {**IMAGE_OPERATIONS, **TEXT_OPERATIONS, **TABLE_OPERATIONS}
