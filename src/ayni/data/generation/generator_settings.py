"""How a generator is built. Which fields matter depends on `kind`.

Needs neither torch nor numpy.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

Kind: TypeAlias = Literal["gaussian", "copula", "vae", "gan", "flow"]
Layers: TypeAlias = Literal["auto", "flat", "convolution"]

KINDS: tuple[str, ...] = get_args(Kind)
NEURAL_KINDS = ("vae", "gan", "flow")
# Below this side a convolution has nothing to gain: 8x8 digits are learned better as 64 numbers.
SMALLEST_CONVOLUTION_SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """What is built.

    Attributes:
        kind: "gaussian" and "copula" are fitted at once; "vae" (conditional), "gan" (WGAN-GP) and "flow"
            (flow matching) are trained.
        layers: "convolution" for images from 16 pixels a side on, "flat" for anything; "auto" chooses.
        width: numbers in a hidden layer, or channels of the first convolution (a quarter of it is taken).
        depth: hidden layers of flat networks.
        noise_size: numbers of the latent of vae and gan. A flow has as many as an input.
        sampling_steps: of a flow, from noise to example; each calls the network twice.
        shrinkage: of the Gaussian's covariance, 0 to 1; None estimates it (Ledoit and Wolf).
        kl_weight: of the vae. Below 1 gives sharper examples that differ less.
        gradient_penalty: of the gan, 10 as in its paper.
        critic_steps: of the gan, for one of the generator.
        category_columns: columns of a table whose numbers only name something.
    """

    kind: Kind
    layers: Layers = "auto"
    width: int = 256
    depth: int = 3
    noise_size: int = 16
    sampling_steps: int = 16
    shrinkage: float | None = None
    kl_weight: float = 1.0
    gradient_penalty: float = 10.0
    critic_steps: int = 5
    category_columns: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("kind", KINDS), ("layers", get_args(Layers))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("width", "depth", "noise_size", "sampling_steps", "critic_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("kl_weight", "gradient_penalty"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage must be from 0 to 1, not {self.shrinkage}")

    @property
    def is_neural(self) -> bool:
        """Whether it is trained, and not fitted at once."""
        return self.kind in NEURAL_KINDS

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "category_columns": list(self.category_columns)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The settings that `to_json` wrote."""
        return cls(**{**data, "category_columns": tuple(data["category_columns"])})
