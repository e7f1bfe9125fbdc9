"""From one explained example to what people see of it, and to its files.

Images become pictures; a text keeps its symbols, and a row of a table its strongest features, each
beside its attribution. The attributions are written as numbers always.

Not covered: sound, video, graphs, and tables of integers: of those there are only the numbers.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.explain import pictures
from ayni.explain.explanation import Feature
from ayni.files import write_atomically

MAX_TOKENS = 200
MAX_FEATURES = 8


class Illustrations(TypedDict, total=False):
    """What is known of one example: names of files inside the step's folder, symbols, or features."""

    input_image: str | None
    attribution_image: str | None
    attribution_file: str
    tokens: list[str] | None
    values: list[float] | None
    features: list[Feature] | None
    change_image: str | None
    change_values: list[float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustrator:
    """Illustrates examples, with the task's names; each list of names may be empty."""

    folder: Path
    class_names: Sequence[str] = ()
    symbol_names: Sequence[str] = ()
    feature_names: Sequence[str] = ()

    def name(self, number: int) -> str:
        """What a class is called; its number when the task has no name for it."""
        return _named(self.class_names, number)

    def illustrate(
        self,
        stem: str,
        value: torch.Tensor,
        attribution: torch.Tensor,
        *,
        change: torch.Tensor | None = None,
    ) -> Illustrations:
        """Write `{stem}_attribution.npy`, and of an image `{stem}_input.png`, `{stem}_attribution.png`.

        With a `change`, the attribution of what flipped, also `{stem}_change.png` of an image.
        """
        signed = attribution.double().numpy()
        content = io.BytesIO()
        np.save(content, signed.astype(np.float32))
        write_atomically(self.folder / f"{stem}_attribution.npy", content.getvalue())
        return {
            "input_image": None,
            "attribution_image": None,
            "attribution_file": f"{stem}_attribution.npy",
            **self._shown(stem, value, signed),
            **({} if change is None else self._changed(stem, value, signed, change.double().numpy())),
        }

    def _changed(
        self, stem: str, value: torch.Tensor, signed: pictures.Pixels, change: pictures.Pixels
    ) -> Illustrations:
        """The same forms as `_shown`; of a row, the numbers of the features that are shown."""
        if not value.is_floating_point() and value.dim() < 3:
            return {"change_values": change[-MAX_TOKENS:].tolist()} if value.dim() == 1 else {}
        if _is_row(value):
            return {"change_values": change.flatten()[_strongest(signed.flatten())].tolist()}
        if (map_ := pictures.as_image(change)) is None:
            return {}
        pictures.draw_attribution(map_, self.folder / f"{stem}_change.png")
        return {"change_image": f"{stem}_change.png"}

    def _shown(self, stem: str, value: torch.Tensor, signed: pictures.Pixels) -> Illustrations:
        if not value.is_floating_point() and value.dim() < 3:
            return self._text(value, signed) if value.dim() == 1 else {}
        if _is_row(value):
            return self._row(value.flatten().tolist(), signed.flatten())
        return self._image(stem, value.double().numpy(), signed)

    def _text(self, value: torch.Tensor, signed: pictures.Pixels) -> Illustrations:
        # The last place is the one that is explained.
        return {
            "tokens": [_named(self.symbol_names, int(number)) for number in value[-MAX_TOKENS:]],
            "values": signed[-MAX_TOKENS:].tolist(),
        }

    def _row(self, value: Sequence[float], signed: pictures.Pixels) -> Illustrations:
        return {
            "features": [
                Feature(
                    name=_named(self.feature_names, int(place), otherwise="feature {}"),
                    value=value[place],
                    attribution=float(signed[place]),
                )
                for place in _strongest(signed)
            ]
        }

    def _image(self, stem: str, value: pictures.Pixels, signed: pictures.Pixels) -> Illustrations:
        image, map_ = pictures.as_image(value), pictures.as_image(signed)
        if image is None or map_ is None:
            return {}
        names = f"{stem}_input.png", f"{stem}_attribution.png"
        pictures.draw_input(image, self.folder / names[0])
        pictures.draw_attribution(map_, self.folder / names[1])
        return {"input_image": names[0], "attribution_image": names[1]}


def _is_row(value: torch.Tensor) -> bool:
    return value.numel() == max(value.shape)


def _strongest(signed: pictures.Pixels) -> NDArray[np.intp]:
    return np.argsort(-np.abs(signed), kind="stable")[:MAX_FEATURES]


def _named(names: Sequence[str], number: int, otherwise: str = "{}") -> str:
    return names[number] if 0 <= number < len(names) else otherwise.format(number)
