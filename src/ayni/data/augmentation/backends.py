"""Other libraries that make views of images: the port, and which of them is asked for.

Measured on one thread (`python -m benchmarks run augmentation_speed`): the code here is faster than both on
images of 28x28; on 224x224 albumentations can be faster where images are rotated and cropped alone.

Not covered: back-ends for mixing, RandAugment and TrivialAugment, which are always done here.
"""

from typing import TYPE_CHECKING, Protocol

from ayni.data.augmentation.operations import MIXING, SEARCHLESS, Operation
from ayni.data.augmentation.policy import Backend, Policy, PolicyError

if TYPE_CHECKING:
    import torch


class ImageBackend(Protocol):
    """Makes views of images."""

    def views(
        self,
        images_NCHW: "torch.Tensor",
        policy: Policy,
        *,
        generator: "torch.Generator",
        value_range: tuple[float, float],
    ) -> "torch.Tensor":
        """One view of each image, float32, inside the range. Operations that mix labels are skipped.

        Raises:
            PolicyError: the library has no such operation.
        """
        ...


def find_backend(name: Backend) -> ImageBackend | None:
    """The back-end of this name; None for `own`.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if name == "kornia":
        from ayni.data.augmentation.kornia_backend import KorniaBackend

        return KorniaBackend()
    if name == "albumentations":
        from ayni.data.augmentation.albumentations_backend import AlbumentationsBackend

        return AlbumentationsBackend()
    return None


def per_image_operations(policy: Policy, *, backend: Backend) -> list[Operation]:
    """The operations of a policy that a library is asked to do.

    Raises:
        PolicyError: RandAugment or TrivialAugment, whose lists differ between libraries.
    """
    if any(isinstance(operation, SEARCHLESS) for operation in policy.operations):
        raise PolicyError(
            f"The policy {policy.name} draws from a list that {backend} does not have. Use `backend: own`."
        )
    return [operation for operation in policy.operations if not isinstance(operation, MIXING)]
