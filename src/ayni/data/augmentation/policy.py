"""What is done to each batch, as a value: operations in order, how strongly, and to which share of it.

A policy without a search: the ready-made ones are few and fixed, and RandAugment and TrivialAugment have at
most two numbers. AutoAugment is left out on purpose: its search costs 5,000 GPU-hours and more, which no
saving repays.

    rho_eff = views shown that differ from their record / records = epochs * share * P(a view differs)

Light on purpose (no torch): `ayni plan` reads it too. Field names are the keys of `data.augment` in job.yaml.

Not covered: other policies for other classes.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from ayni.data.augmentation.operations import (
    FORBID_EXTRA,
    IMAGE_OPERATIONS,
    MIXING,
    OPERATIONS,
    SEARCHLESS,
    SEARCHLESS_LIST,
    TABLE_OPERATIONS,
    Brightness,
    Colour,
    ColumnNoise,
    Contrast,
    Crop,
    CutMix,
    Cutout,
    DropWords,
    Flip,
    Mixup,
    Noise,
    Operation,
    RandAugment,
    Rotate,
    Scale,
    Shear,
    Smote,
    SwapColumns,
    SwapWords,
    TrivialAugment,
    TypoNoise,
)
from ayni.errors import UserError

Backend = Literal["own", "kornia", "albumentations"]
Border = Literal["reflect", "edge", "low"]
Kind = Literal["images", "text", "table"]

# Operations that always change a view when they are done; a flip of a symmetric image is counted as change.
POLICIES: Mapping[str, tuple[Operation, ...]] = {
    "digits": (
        Crop(padding=0.1),
        Rotate(degrees=15),
        Scale(amount=0.1),
        Shear(degrees=8),
        Noise(deviation=0.05),
    ),
    "photos": (Crop(), Flip(), Rotate(degrees=10), Brightness(), Contrast(), Colour(), Cutout()),
    "crop_flip": (Crop(), Flip()),
    "randaugment": (RandAugment(),),
    "trivialaugment": (TrivialAugment(),),
    "cutmix": (CutMix(),),
    "mixup": (Mixup(),),
    "words": (DropWords(), SwapWords()),
    "typos": (TypoNoise(),),
    "table": (ColumnNoise(), SwapColumns()),
    "smote": (Smote(),),
}


# Symbols on an empty ground, which goes on beyond the edge: a mirrored stroke would be another symbol.
_BORDERS: Mapping[str, Border] = {"digits": "low"}


class PolicyError(UserError):
    """A policy that is not known, or that does not suit the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Operations in order, all of one kind of data.

    name: what records call it.
    operations: what is done; geometry first and together, in one resampling, then pixels, then mixing.
    border: what stands beyond the image's edge: its mirror image, its last pixel, or the lowest level. A
        level of its own becomes a feature that a model learns, so that the mirror is the default.
    """

    name: str
    operations: tuple[Operation, ...]
    border: Border = "reflect"

    def __post_init__(self) -> None:
        if not self.operations:
            raise PolicyError(f"The policy {self.name} holds no operation.")
        kinds = {_kind_of(operation) for operation in self.operations}
        if len(kinds) > 1:
            raise PolicyError(
                f"The policy {self.name} is for {' and '.join(sorted(kinds))}: expected one kind."
            )
        if sum(isinstance(operation, MIXING) for operation in self.operations) > 1:
            raise PolicyError(f"The policy {self.name} mixes images twice: choose cutmix or mixup.")
        is_searchless = [isinstance(operation, SEARCHLESS) for operation in self.operations]
        if sum(is_searchless) > 1:
            raise PolicyError(f"The policy {self.name} holds randaugment or trivialaugment more than once.")

    @property
    def kind(self) -> Kind:
        """What it is for: images, text or tables."""
        return _kind_of(self.operations[0])

    @property
    def mixes_labels(self) -> bool:
        """Whether labels become shares of classes [N, K]."""
        return any(isinstance(operation, MIXING) for operation in self.operations)

    def scaled(self, strength: float) -> Self:
        """The same policy, `strength` times as strong."""
        scaled = tuple(operation.scaled(strength) for operation in self.operations)
        return dataclasses.replace(self, operations=scaled)

    @property
    def probability_of_change(self) -> float:
        """P(a view differs from its record), when draws that happen to do nothing are not counted."""
        return 1 - math.prod(1 - _probability(operation) for operation in self.operations)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        steps = [{_name_of(operation): dataclasses.asdict(operation)} for operation in self.operations]
        return {"name": self.name, "border": self.border, "operations": steps}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The policy that `to_json` wrote."""
        operations = tuple(
            OPERATIONS[name](**held) for each in data["operations"] for name, held in each.items()
        )
        return cls(name=data["name"], border=data["border"], operations=operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """The `data.augment` part of a job.

    policy: a ready-made policy by name.
    operations: a list of operations with their settings, as in `- rotate: {degrees: 10}`; with a policy they
        come after its own.
    share: r, the share of each batch that is replaced by views; the rest stays as it is.
    strength: how strong every operation is, as a multiple of what the policy says.
    backend: who computes the views of images: `own` (torch), or an optional library of the extra `augment`.
    border: what stands beyond an image's edge; not given = as the policy has it.
    pad_token: the number that fills the end of a row of tokens after words were left out.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    policy: str | None = None
    operations: tuple[Mapping[str, Any], ...] = ()
    share: float = 1.0
    strength: float = 1.0
    backend: Backend = "own"
    border: Border | None = None
    pad_token: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"augment.share is above 0 and at most 1, not {self.share:g}")
        if not 0 <= self.strength <= 10:
            raise ValueError(f"augment.strength is from 0 to 10, not {self.strength:g}")
        if self.policy is None and not self.operations:
            raise ValueError("augment names a policy, operations, or both")
        try:
            made = self.made_policy()
        except PolicyError as error:  # pydantic collects ValueErrors only
            key = "operations" if self.policy is None else "policy"
            raise ValueError(f"augment.{key}: {error}") from error
        if self.backend != "own" and made.kind != "images":
            raise ValueError(f"augment.backend {self.backend} is for images, the policy is for {made.kind}")

    def made_policy(self) -> Policy:
        """The policy, as strong as it is asked for.

        Raises:
            PolicyError: no ready-made policy has this name, or operations do not go together.
        """
        found = policy_of(self.operations) if self.operations else None
        if self.policy is not None:
            named = named_policy(self.policy)
            extra = () if found is None else found.operations
            name = named.name if found is None else f"{named.name}+own"
            found = dataclasses.replace(named, name=name, operations=named.operations + extra)
        assert found is not None, "one of the two is given"
        return dataclasses.replace(found.scaled(self.strength), border=self.border or found.border)

    def rho_eff(self, *, num_shown: int, num_records: int) -> float:
        """Augmented views shown over records, |D'| / |D|, of training that showed `num_shown` examples."""
        return num_shown * self.share * self.made_policy().probability_of_change / num_records

    def to_json(self) -> dict[str, Any]:
        """What runs and cards keep."""
        names = ("share", "strength", "backend", "pad_token")
        return {"policy": self.made_policy().to_json(), **{name: getattr(self, name) for name in names}}


def named_policy(name: str) -> Policy:
    """A ready-made policy.

    Raises:
        PolicyError: there is none of this name; the nearest is suggested.
    """
    if name not in POLICIES:
        near = difflib.get_close_matches(name, list(POLICIES), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(POLICIES)}."
        raise PolicyError(f"There is no policy {name!r}. {hint} A list of operations is a policy, too.")
    return Policy(name=name, operations=POLICIES[name], border=_BORDERS.get(name, "reflect"))


def policy_of(entries: Sequence[Mapping[str, Any]], *, name: str = "own") -> Policy:
    """The policy of a list of `{operation: {setting: value}}`.

    Raises:
        PolicyError: unknown operation or setting (the nearest is suggested), or a value out of bounds.
    """
    made: list[Operation] = []
    for entry in entries:
        for key, held in entry.items():
            if key not in OPERATIONS:
                raise PolicyError(f"There is no operation {key!r}{_nearest(key, list(OPERATIONS))}")
            if not isinstance(held, Mapping | None):
                raise PolicyError(f"The operation {key} has {held!r}, expected a mapping of settings.")
            allowed = [field.name for field in fields(OPERATIONS[key])]
            for setting in held or {}:
                if setting not in allowed:
                    raise PolicyError(f"{key} has no setting {setting!r}{_nearest(setting, allowed)}")
            try:
                made.append(OPERATIONS[key](**(held or {})))
            except (TypeError, ValueError) as error:
                raise PolicyError(f"The operation {key}: {error}.") from error
    return Policy(name=name, operations=tuple(made))


def _nearest(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else f". There are: {', '.join(allowed)}."


def _name_of(operation: Operation) -> str:
    return next(name for name, made in OPERATIONS.items() if type(operation) is made)


def _kind_of(operation: Operation) -> Kind:
    name = _name_of(operation)
    return "images" if name in IMAGE_OPERATIONS else "table" if name in TABLE_OPERATIONS else "text"


def _probability(operation: Operation) -> float:
    """P(the operation changes an example); operations on words and columns count as if they always did."""
    if isinstance(operation, RandAugment | TrivialAugment):
        # One of the list leaves the image alone.
        num_drawn = operation.operations if isinstance(operation, RandAugment) else 1
        return float(operation.magnitude > 0) * (1 - float(len(SEARCHLESS_LIST)) ** -num_drawn)
    probability = float(getattr(operation, "probability", 1.0))
    amounts = [
        getattr(operation, field.name)
        for field in fields(operation)
        if field.name in ("padding", "degrees", "amount", "deviation", "size", "rate")
    ]
    return probability if all(amounts) else 0.0
