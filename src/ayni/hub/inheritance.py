"""Whether a model may have its licence, given the models and data that it comes from.

A derived model may not be freer than what it is made of: each base and each data set narrows the licences
that it may have, and what is left is shown. Terms that were passed down count too, so all ancestors are
looked at: a parent may have dropped what bound it.

    bases     weights are adapted, so every licence passes its terms on; own terms stay as they are
    data      as licences.check_licence judges it, on the careful side

Not covered: legal advice, dual licensing beyond "any of these", and permission given outside of a card.

Source: as licences; OpenRAIL and the licences of Llama and Gemma ask derivatives to pass on their terms.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ayni.hub.licences import KNOWN_LICENCES, allowed_model_licences, licence_identifier

Relation = Literal["base", "data"]

# Terms of use that derivatives of the weights carry on as they are.
_PASSED_ON = (
    "bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m creativeml-openrail-m "
    "deepfloyd-if-license fair-noncommercial-research-license gemma llama2 llama3 llama3.1 llama3.2 "
    "llama3.3 llama4 openrail openrail++"
)
PASSED_ON = frozenset(_PASSED_ON.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Something that a model comes from. An empty licence means that it is not known."""

    name: str
    relation: Relation
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What the licences of the ancestors leave.

    Attributes:
        conflicts: parents whose terms the licence breaks, with what they allow, in words.
        unknown: parents whose licence is not known, so that nobody can tell.
        allowed: the licences that all ancestors allow; None = all.
    """

    conflicts: tuple[str, ...]
    unknown: tuple[str, ...]
    allowed: tuple[str, ...] | None

    @property
    def is_allowed(self) -> bool:
        """Whether nothing that is known speaks against the licence."""
        return not self.conflicts


def inheritance(licences: Iterable[str], ancestors: Iterable[Parent]) -> Inheritance:
    """Judge the licence of a model by all that it comes from.

    Args:
        licences: of the model; with several, users choose one, so each must be allowed. None given: nothing
            is promised, and what would be allowed is found.
        ancestors: bases and data, theirs as well.
    """
    own = tuple(licence_identifier(each) for each in licences)
    conflicts, unknown = [], []
    allowed: set[str] | None = None
    for parent in ancestors:
        known = [each for each in map(licence_identifier, parent.licences) if _is_known(each)]
        if not known:
            unknown.append(parent.name)
            continue
        # Who may choose among several licences may take the one that allows most.
        leaves = _union(_passes_on(each, parent.relation) for each in known)
        if leaves is None:
            continue
        allowed = leaves if allowed is None else allowed & leaves
        if broken := [each for each in own if each not in leaves]:
            conflicts.append(_words(broken, parent, leaves))
    found = None if allowed is None else tuple(sorted(allowed))
    return Inheritance(conflicts=tuple(conflicts), unknown=tuple(unknown), allowed=found)


def _is_known(licence: str) -> bool:
    return licence in KNOWN_LICENCES and licence != "other"


def _passes_on(licence: str, relation: Relation) -> set[str] | None:
    if relation == "base" and licence in PASSED_ON:
        return {licence}
    allowed = allowed_model_licences(licence)
    return None if allowed is None else set(allowed)


def _union(each: Iterable[set[str] | None]) -> set[str] | None:
    together: set[str] = set()
    for one in each:
        if one is None:
            return None
        together |= one
    return together


def _words(broken: list[str], parent: Parent, leaves: set[str]) -> str:
    what = "the base" if parent.relation == "base" else "the data"
    goes = f"it allows {', '.join(sorted(leaves))}" if leaves else "it allows no derived model"
    theirs = " or ".join(parent.licences)
    return f"{' and '.join(broken)} is freer than {what} {parent.name} ({theirs}): {goes}."
