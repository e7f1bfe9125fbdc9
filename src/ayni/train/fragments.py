"""The parts of a model that travel in turn, with strategy "streaming".

Round k sends fragment (k - 1) mod P. Numbered layers are dealt out in turn, so that each fragment has
layers from the bottom to the top; what stands beside the layers (embedding, head) fills up the smallest
fragments. Buffers stay with their layer.

Source: Douillard et al., "Streaming DiLoCo with overlapping communication", 2025, section 2.2 (strided
fragments), arXiv:2501.18512; filling up by size is ours (there each fragment has the same layers).

Not covered: cutting a tensor in two; a model that is one big tensor has one big fragment.
"""

from math import prod
from typing import TypeAlias

from ayni.errors import UserError
from ayni.train.layout import Chunk, Manifest, make_chunks

Fragment: TypeAlias = tuple[str, ...]


class TooManyFragmentsError(UserError):
    """The model has fewer arrays than fragments are asked for."""

    def __init__(self, *, num_fragments: int, num_arrays: int) -> None:
        self.num_fragments = num_fragments
        self.num_arrays = num_arrays
        super().__init__(
            f"train.streaming.fragments is {num_fragments}, and the model has only {num_arrays} arrays that "
            f"travel. Lower it to at most {num_arrays}."
        )


def make_fragments(manifest: Manifest, num_fragments: int) -> tuple[Fragment, ...]:
    """Names of each fragment, in the manifest's order; every name is in exactly one.

    Raises:
        TooManyFragmentsError: there are not enough arrays for all fragments to have one.
    """
    if len(manifest) < num_fragments:
        raise TooManyFragmentsError(num_fragments=num_fragments, num_arrays=len(manifest))
    layers: dict[str, list[str]] = {}
    for name in manifest:
        layers.setdefault(_layer_of(name), []).append(name)
    if len(layers) < num_fragments:  # too few layers to go round: deal out single arrays
        layers = {name: [name] for name in manifest}
    owner = _deal_out(layers, manifest, num_fragments)
    return tuple(
        tuple(name for name in manifest if owner[name] == fragment) for fragment in range(num_fragments)
    )


def fragment_of_round(round_: int, num_fragments: int) -> int:
    """Which fragment travels at the end of a round, counted from 1."""
    return (round_ - 1) % num_fragments


def fragment_chunks(manifest: Manifest, num_fragments: int) -> tuple[tuple[Chunk, ...], ...]:
    """The chunks of each fragment: its frames are one for each, in this order."""
    return tuple(
        make_chunks({name: manifest[name] for name in fragment})
        for fragment in make_fragments(manifest, num_fragments)
    )


def _layer_of(name: str) -> str:
    """The numbered layer that an array belongs to, or else the module that holds it."""
    parts = name.split(".")
    numbered = next((place for place, part in enumerate(parts[:-1]) if part.isdigit()), None)
    return ".".join(parts[:-1] if numbered is None else parts[: numbered + 1])


def _deal_out(layers: dict[str, list[str]], manifest: Manifest, num_fragments: int) -> dict[str, int]:
    """Name -> fragment."""
    sizes = {layer: sum(prod(manifest[name][0]) for name in names) for layer, names in layers.items()}
    filled = [0] * num_fragments
    owner: dict[str, int] = {}

    def put(layer: str, fragment: int) -> None:
        filled[fragment] += max(1, sizes[layer])  # at least 1, so that no fragment stays empty
        owner.update(dict.fromkeys(layers[layer], fragment))

    numbered = [layer for layer in layers if layer.split(".")[-1].isdigit()]
    for place, layer in enumerate(numbered):
        put(layer, place % num_fragments)
    for layer in sorted(set(layers) - set(numbered), key=lambda layer: (-sizes[layer], layer)):
        put(layer, filled.index(min(filled)))
    return owner
