"""Which files an organisation takes, judged by what was found in them.

    open                what was found is shown beside the file, and nothing is refused
    no-danger           what would run commands when it is loaded is refused
    safetensors-only    weights come in forms that hold numbers and no program

Forms without a program are safetensors, GGUF and ONNX; arrays of NumPy that hold no objects are data.

Not covered: .py files, which run where a user trusts a repository's code.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from ayni.errors import UserError
from ayni.hub.content_scan import PICKLE_SUFFIXES, Scan
from ayni.hub.pickles import Verdict

Policy = Literal["open", "no-danger", "safetensors-only"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "no-danger"

# Formats whose readers may run code of the file, whatever was found in this one.
_PROGRAM_SUFFIXES = PICKLE_SUFFIXES | {"h5", "hdf5", "keras", "pb"}
_NUMBERS = ("safetensors", "gguf", "onnx")


class RefusedFileError(UserError):
    """Files of a commit are not taken here."""

    def __init__(self, reasons: Mapping[str, str], policy: Policy) -> None:
        self.reasons = dict(reasons)
        self.policy = policy
        shown = "; ".join(f"{path}: {reason}" for path, reason in list(reasons.items())[:5])
        more = f"; and {len(reasons) - 5} more files" if len(reasons) > 5 else ""
        remedy = (
            "Save the weights as safetensors."
            if policy == "safetensors-only"
            else "Save the weights as safetensors, or remove what the file would call."
        )
        super().__init__(f"Nothing was committed, the policy here is {policy!r}. {shown}{more}. {remedy}")


def check_policy(scans: Mapping[str, Scan], policy: Policy) -> None:
    """Refuse the files of a commit that a policy does not take.

    Args:
        scans: what was found, by path.
        policy: of the organisation.

    Raises:
        RefusedFileError: a file is not taken.
    """
    reasons = {path: reason for path, scan in scans.items() if (reason := refusal(path, scan, policy))}
    if reasons:
        raise RefusedFileError(reasons, policy)


def refusal(path: str, scan: Scan, policy: Policy) -> str:
    """Why a file is not taken; empty when it is."""
    if policy == "open":
        return ""
    if scan.verdict == "dangerous":
        return f"it would call {scan.findings[0].what} when it is loaded"
    if policy == "no-danger":
        return ""
    suffix = path.rpartition(".")[2].lower()
    if scan.holds_pickle or scan.verdict != "none":
        found = scan.findings[0].what if scan.findings else "a pickle"
        return f"it may run code when it is loaded ({found})"
    if suffix in _PROGRAM_SUFFIXES and scan.kind not in _NUMBERS:
        return f"readers of .{suffix} files may run code that is in them"
    return ""


BADGES: dict[Verdict, str] = {
    "none": "",
    "safe": "pickle, imports only what builds tensors",
    "unlisted": "pickle, imports code that nobody has looked at",
    "unreadable": "could not be looked into",
    "dangerous": "runs commands when it is loaded",
}
"""What stands beside a file."""
