import typing

import pytest

from ayni.hub.content_scan import Kind, Scan
from ayni.hub.pickles import VERDICTS, Finding, Verdict
from ayni.hub.weights_policy import BADGES, POLICIES, Policy, RefusedFileError, check_policy, refusal


def scan(kind: Kind, verdict: Verdict) -> Scan:
    findings = () if verdict in ("none", "safe") else (Finding(verdict=verdict, what="os.system"),)
    return Scan(kind=kind, findings=findings, holds_pickle=verdict != "none")


@pytest.mark.parametrize(
    ("path", "found", "takes"),
    [
        ("m.safetensors", scan("safetensors", "none"), ("open", "no-danger", "safetensors-only")),
        ("m.gguf", scan("gguf", "none"), ("open", "no-danger", "safetensors-only")),
        ("README.md", scan("other", "none"), ("open", "no-danger", "safetensors-only")),
        ("data.zip", scan("zip", "none"), ("open", "no-danger", "safetensors-only")),
        ("m.bin", scan("safetensors", "none"), ("open", "no-danger", "safetensors-only")),
        ("m.bin", scan("other", "none"), ("open", "no-danger")),
        ("m.h5", scan("hdf5", "none"), ("open", "no-danger")),
        ("m.bin", scan("zip", "safe"), ("open", "no-danger")),
        ("m.png", scan("pickle", "safe"), ("open", "no-danger")),
        ("m.bin", scan("zip", "unlisted"), ("open", "no-danger")),
        ("m.safetensors", scan("broken", "unreadable"), ("open", "no-danger")),
        ("m.bin", scan("zip", "dangerous"), ("open",)),
        ("notes.txt", scan("pickle", "dangerous"), ("open",)),
    ],
)
def test_each_policy_takes_what_it_says(path: str, found: Scan, takes: tuple[Policy, ...]) -> None:
    assert tuple(policy for policy in POLICIES if not refusal(path, found, policy)) == takes


def test_a_refusal_names_the_files_the_reasons_and_the_remedy() -> None:
    scans = {"a.bin": scan("pickle", "dangerous"), "b.safetensors": scan("safetensors", "none")}

    with pytest.raises(RefusedFileError, match=r"a\.bin: it would call os\.system.*safetensors") as refused:
        check_policy(scans, "no-danger")

    assert list(refused.value.reasons) == ["a.bin"]
    check_policy(scans, "open")


def test_every_verdict_has_a_badge() -> None:
    assert tuple(BADGES) == VERDICTS == typing.get_args(Verdict)
