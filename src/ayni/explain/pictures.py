"""Small PNGs of inputs and of attributions. Matplotlib's colours, no figures: a picture takes 2 ms.

Attributions are drawn on one symmetric scale: white is 0, red speaks for the answer, blue against it
(RdBu, told apart by colour-blind readers too).

Not covered: sound, video, graphs; such inputs have no picture, and their attributions are only numbers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayni.files import explain_os_errors

Pixels = NDArray[np.float64]

PICTURE_SIDE = 168
SYMBOLS_A_LINE = 32


def as_image(values: Pixels) -> Pixels | None:
    """An array [H, W], [1, H, W] or [3, H, W] as [H, W] or [H, W, 3]; None when it is none of these."""
    if values.ndim == 3 and values.shape[0] == 3:
        return np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    return values if values.ndim == 2 and min(values.shape) > 1 else None


def draw_input(image: Pixels, path: Path) -> None:
    """Draw an image [H, W] or [H, W, 3] in its own range."""
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
    colours = scaled if image.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)
    _save(_enlarged(colours), path)


def draw_attribution(image: Pixels, path: Path) -> None:
    """Draw signed values [H, W] or [H, W, 3], summed over channels."""
    flat = image.sum(axis=2) if image.ndim == 3 else image
    _save(_enlarged(_signed_colours(flat)), path)


def draw_symbols(symbols: Sequence[str], values: Pixels | None, path: Path) -> None:
    """Draw a sequence as lines of text, each symbol on its attribution's colour (None: on white)."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    num_lines = -(-len(symbols) // SYMBOLS_A_LINE)
    figure = Figure(figsize=(SYMBOLS_A_LINE * 0.14, num_lines * 0.26), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, SYMBOLS_A_LINE), ylim=(num_lines, 0))
    axes.axis("off")
    colours = np.ones((len(symbols), 3)) if values is None else _signed_colours(values[None])[0]
    for place, symbol in enumerate(symbols):
        row, column = divmod(place, SYMBOLS_A_LINE)
        axes.add_patch(Rectangle((column, row), 1, 1, color=tuple(colours[place])))
        ink = "white" if colours[place].mean() < 0.45 else "black"
        # "$" would start a formula.
        text = _visible(symbol).replace("$", r"\$")
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", family="monospace", color=ink)
    with explain_os_errors(path):
        figure.savefig(path)


def _visible(symbol: str) -> str:
    """A short form of a symbol that can be seen: line ends and other controls get a stand-in."""
    if symbol == "\n":
        return "\u21b5"
    return symbol[:4] if symbol.isprintable() else "\u00b7"


def _signed_colours(values: Pixels) -> Pixels:
    from matplotlib import colormaps

    bound = float(np.abs(values).max()) or 1.0
    # Red is the high end of the reversed map; half the range on each side of white.
    colours: Pixels = colormaps["RdBu_r"](0.5 + values / (2 * bound))[..., :3]
    return colours


def _enlarged(colours: Pixels) -> Pixels:
    """Repeat pixels so that the longer side has about PICTURE_SIDE of them."""
    factor = max(1, PICTURE_SIDE // max(colours.shape[:2]))
    return colours.repeat(factor, axis=0).repeat(factor, axis=1)


def _save(colours: Pixels, path: Path) -> None:
    from matplotlib.image import imsave

    with explain_os_errors(path):
        imsave(path, np.clip(colours, 0, 1))
