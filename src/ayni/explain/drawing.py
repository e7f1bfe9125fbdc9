"""From one explained example to its files: pictures where the input can be drawn, numbers always."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from ayni.explain import pictures
from ayni.files import write_atomically


class Illustrations(TypedDict):
    """Names of the files of one example, inside the step's folder; None = there is no such picture."""

    input_image: str | None
    attribution_image: str | None
    attribution_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustrator:
    """Draws examples into a folder, with the task's names of classes and symbols."""

    folder: Path
    names: list[str]
    """Names of the classes; of a model that writes text they are its symbols too. May be empty."""

    def name(self, number: int) -> str:
        """What a class or symbol is called; its number when the task has no name for it."""
        return self.names[number] if 0 <= number < len(self.names) else str(number)

    def draw(self, stem: str, value: torch.Tensor, attribution: torch.Tensor) -> Illustrations:
        """Write the files `{stem}_input.png`, `{stem}_attribution.png` and `{stem}_attribution.npy`."""
        signed = attribution.double().numpy()
        input_image, attribution_image = f"{stem}_input.png", f"{stem}_attribution.png"
        is_drawn = (
            self._draw_values(value.double().numpy(), signed, input_image, attribution_image)
            if value.is_floating_point()
            else self._draw_symbols(value, signed, input_image, attribution_image)
        )
        content = io.BytesIO()
        np.save(content, signed.astype(np.float32))
        write_atomically(self.folder / f"{stem}_attribution.npy", content.getvalue())
        return Illustrations(
            input_image=input_image if is_drawn else None,
            attribution_image=attribution_image if is_drawn else None,
            attribution_file=f"{stem}_attribution.npy",
        )

    def _draw_values(
        self, value: pictures.Pixels, signed: pictures.Pixels, input_image: str, attribution_image: str
    ) -> bool:
        image, map_ = pictures.as_image(value), pictures.as_image(signed)
        if image is None or map_ is None:
            return False
        pictures.draw_input(image, self.folder / input_image)
        pictures.draw_attribution(map_, self.folder / attribution_image)
        return True

    def _draw_symbols(
        self, value: torch.Tensor, signed: pictures.Pixels, input_image: str, attribution_image: str
    ) -> bool:
        if value.dim() != 1:
            return False
        symbols = [self.name(int(number)) for number in value]
        pictures.draw_symbols(symbols, None, self.folder / input_image)
        pictures.draw_symbols(symbols, signed, self.folder / attribution_image)
        return True
