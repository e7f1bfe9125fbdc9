"""One HTML file with an audit: it opens offline, needs no script and asks for nothing from a network.

Not covered: audits of runs, which are part of the run's own report.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ayni.files import write_atomically
from ayni.reports import audit_view, formats
from ayni.reports.audit_view import AttackRow, attack_row, curve_plot
from ayni.reports.gallery import data_uri
from ayni.reports.pages import page_environment

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_FILE = "audit.html"
FORMATS = ("count", "share", "visible")
SIDES = ("generated", "member", "non_member")


def write_model_page(audit: Mapping[str, Any], *, folder: Path, name: str, version: str = "") -> Path:
    """Write `folder`/audit.html from what `AuditFound.to_json` gave; returns its path."""
    view = {"audit": audit_view.audit_view(audit, folder)}
    return _write(
        "audit.html.j2",
        folder,
        name=name,
        version=version,
        title=f"Leak audit of the run {name}",
        view=view,
        verdict_text=audit_view.verdict_text(view),
        attack_rows=audit_view.attack_rows(view),
        attack_plot=audit_view.attack_plot(view),
        exposed=audit_view.exposed_records(view),
    )


def write_generated_page(audit: Mapping[str, Any], *, folder: Path, name: str, version: str = "") -> Path:
    """Write `folder`/audit.html from what `GeneratedFound.to_json` gave; returns its path."""
    return _write(
        "generated_audit.html.j2",
        folder,
        name=name,
        version=version,
        title=f"Leak audit of {name}",
        audit=audit,
        verdict_text=GENERATED_VERDICTS[audit["verdict"]["kind"]],
        attack_rows=generated_rows(audit),
        attack_plot=_plot(audit),
        pairs=_pairs(audit, folder),
    )


GENERATED_VERDICTS = {
    **audit_view.VERDICTS,
    "fail": "not to be shared",
}


def generated_rows(audit: Mapping[str, Any]) -> list[AttackRow]:
    """The attacks on generated records and the controls, with what each should have come to."""
    rows = [attack_row("these records", audit["attack"], "0.5 is guessing")]
    if audit["rare"] is not None:
        rows.append(attack_row("their rarest members", audit["rare"], "0.5 is guessing"))
    return [
        *rows,
        attack_row("copies with 2 % noise", audit["positive_control"], "must be found"),
        attack_row("unseen records", audit["negative_control"], "must be guessing"),
    ]


def generated_facts(audit: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What else was measured: name, value, and what it is judged by."""
    near, closer, utility = audit["near_copies"], audit["closer_to_members"], audit["utility"]
    return [
        ("Near copies", _ranged(near), "0.1 % at most"),
        (
            "Learning from them",
            f"{formats.share(utility['from_generated'], 1)} right",
            f"nine tenths of {formats.share(utility['from_real'], 1)}",
        ),
        ("Closer to a member than to a stranger", _ranged(closer), "a diagnostic, judges nothing"),
    ]


def _ranged(share: Mapping[str, float]) -> str:
    return f"{formats.share(share['value'], 1)} ({share['low']:.2%} to {share['high']:.2%})"


def _plot(audit: Mapping[str, Any]) -> Markup:
    return curve_plot(audit["attack"], title="Members found by false alarms", what="Members found")


def _pairs(audit: Mapping[str, Any], folder: Path) -> Sequence[Mapping[str, Any]]:
    """The generated records nearest to a member, with pictures as data."""
    return [
        {
            **pair,
            "pictures": {
                side: data_uri(str(folder / image)) if (image := images[side]) is not None else None
                for side in SIDES
            },
        }
        for pair, images in zip(audit["pairs"], audit["images"], strict=True)
    ]


def _write(body: str, folder: Path, **values: Any) -> Path:
    path = folder / PAGE_FILE
    template = _environment().get_template("data_page.html.j2")
    page = template.render(body=body, subject="leak audit", facts=_facts(values), **values)
    write_atomically(path, page.encode())
    return path


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return generated_facts(values["audit"]) if "audit" in values else []


@functools.cache
def _environment() -> "Environment":
    return page_environment(FORMATS)
