"""Whether a model's licence goes with the licence of the data it learned from.

Courts have not settled whether weights are an adaptation of their training data. The check takes the careful
side: share-alike data make a share-alike model, non-commercial data a non-commercial one, and data that
forbid adaptations no published model. Whoever knows better can name other data terms in the task's data
card.

Not covered: legal advice, licences in another language, and terms of use that are not a licence.

Source: Creative Commons, "Compatible licenses" and the version clauses (4b of 3.0, 3b of 4.0),
https://creativecommons.org/compatiblelicenses. Identifiers are those of the Hugging Face Hub.
"""

import difflib
import re

from ayni.errors import UserError

_CC_VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")
_PERMISSIVE = (
    "afl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 intel-research isc mit ms-pl ncsa "
    "odbl odc-by pddl postgresql psf-2.0 python-2.0 unlicense wtfpl zlib"
)
_OWN_TERMS = (
    "agpl-3.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m c-uda creativeml-openrail-m"
    " deepfloyd-if-license epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 "
    "fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr "
    "llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 mpl-2.0 ofl-1.1 open-mdw openrail openrail++ osl-3.0 "
    "other"
)
_CREATIVE_COMMONS = {
    f"{family}-{version}"
    for family in ("cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa", "cc-by-nd", "cc-by-nc-nd")
    for version in _CC_VERSIONS
}
KNOWN_LICENCES = frozenset(_CREATIVE_COMMONS.union(_PERMISSIVE.split(), _OWN_TERMS.split()))

# Terms of their own that let data be passed on.
_OPEN_DATA = ("etalab-2.0", "gfdl")

# Copyleft whose work may be passed on only under the same or a listed licence.
_COPYLEFT = {
    "gpl-2.0": ("gpl-2.0", "gpl-3.0"),
    "gpl-3.0": ("gpl-3.0", "agpl-3.0"),
    "agpl-3.0": ("agpl-3.0",),
    "gfdl": ("gfdl",),
}


class UnknownLicenceError(UserError):
    """The job asks for a licence that has no identifier."""

    def __init__(self, licence: str) -> None:
        self.licence = licence
        near = difflib.get_close_matches(licence.lower(), sorted(KNOWN_LICENCES), n=1)
        hint = f"Did you mean {near[0]}?" if near else "For example apache-2.0, mit, cc-by-4.0, cc-by-sa-4.0."
        super().__init__(
            f"{licence!r} is not the identifier of a licence. {hint} Own terms are called 'other'."
        )


class LicenceConflictError(UserError):
    """The model's licence promises what the data's licence does not allow."""

    def __init__(self, *, model_licence: str, data_licence: str, allowed: list[str]) -> None:
        self.model_licence = model_licence
        self.data_licence = data_licence
        self.allowed = allowed
        super().__init__(
            f"The model's licence {model_licence} contradicts the data's licence {data_licence}. "
            f"{_remedy(allowed)}"
        )


class MissingLicenceError(UserError):
    """The job publishes without a licence, and the data's licence binds the model's."""

    def __init__(self, *, data_licence: str, allowed: list[str]) -> None:
        self.data_licence = data_licence
        self.allowed = allowed
        super().__init__(
            f"The job publishes without a licence, and the data's licence {data_licence} binds the model's. "
            f"{_remedy(allowed)}"
        )


def _remedy(allowed: list[str]) -> str:
    if not allowed:
        return "No licence allows publishing: train on other data, or leave `publish` out of the job."
    return f"Set publish.licence to one of: {', '.join(allowed)}."


def check_licence_is_given(model_licence: str | None, data_licence: str | None) -> None:
    """Refuse to publish without a licence what the data's licence allows only under some.

    Raises:
        MissingLicenceError: the job names none; the error names those that would go.
    """
    if model_licence is not None or data_licence is None:
        return
    if (allowed := allowed_model_licences(data_licence)) is not None:
        raise MissingLicenceError(data_licence=data_licence, allowed=allowed)


def check_licence(model_licence: str, data_licence: str | None) -> None:
    """Refuse a model's licence that contradicts its data's licence.

    Data without a known licence (None, "unknown", own terms) allow no judgement and are accepted: the card
    says that their licence is not known.

    Raises:
        UnknownLicenceError: the model's licence has no identifier.
        LicenceConflictError: the two contradict; the error names what would go.
    """
    model = licence_identifier(model_licence)
    if model not in KNOWN_LICENCES:
        raise UnknownLicenceError(model_licence)
    if data_licence is None:
        return
    allowed = allowed_model_licences(data_licence)
    if allowed is not None and model not in allowed:
        raise LicenceConflictError(model_licence=model_licence, data_licence=data_licence, allowed=allowed)


def allowed_model_licences(data_licence: str) -> list[str] | None:
    """The licences that a model of this data may have; None when the data are unknown or set no limit.

    Share-alike and non-commercial terms may move to a later version of themselves. ODbL and CDLA Sharing bind
    databases, not what is computed from them, so they do not restrict a model.
    """
    data = licence_identifier(data_licence)
    if data in _COPYLEFT:
        return list(_COPYLEFT[data])
    match = re.fullmatch(r"(cc-by(?:-nc)?(?:-nd|-sa)?)-(\d\.\d)", data)
    if match is None or match[1] == "cc-by":
        return None
    families = {
        "cc-by-sa": ["cc-by-sa"],
        "cc-by-nc-sa": ["cc-by-nc-sa"],
        "cc-by-nc": ["cc-by-nc", "cc-by-nc-sa"],
    }
    # Terms that forbid adaptations (-nd) are no key here and allow nothing.
    later = [each for each in _CC_VERSIONS if each >= match[2]]
    allowed = [f"{family}-{each}" for family in families.get(match[1], []) for each in later]
    # Creative Commons names the GPL as compatible with BY-SA 4.0, in this direction only.
    return [*allowed, "gpl-3.0"] if data == "cc-by-sa-4.0" else allowed


def why_not_shown(data_licence: str | None) -> str:
    """Why single records of data under this licence are not to be passed on; empty when they may be.

    A picture of an attribution is an adaptation of the record, so terms that forbid those forbid it.
    """
    if data_licence is None:
        return "the licence of the data is not known"
    data = licence_identifier(data_licence)
    if "-nd-" in data:
        return f"the licence of the data, {data}, forbids adaptations"
    if data in _CREATIVE_COMMONS or data in _PERMISSIVE.split() or data in _OPEN_DATA:
        return ""
    return f"the licence of the data, {data}, is none that is known to let records be passed on"


def licence_identifier(licence: str) -> str:
    """The identifier of a licence as people write it: "CC BY-SA 3.0" is "cc-by-sa-3.0"."""
    return (
        re.sub(r"[\s_]+", "-", licence.strip().lower())
        .removesuffix("-international")
        .removesuffix("-unported")
    )
