from typing import Any

import numpy as np
import pytest
import yaml

from ayni.data.generation.generator import fit_generator
from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.records import Records
from ayni.workflows.generator_readme import generator_readme


def readme(audit: dict[str, Any] | None = None, **facts: str) -> str:
    inputs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    records = Records(inputs=inputs, labels=np.arange(20) % 2)
    generator = fit_generator(records, GeneratorSettings(kind="gaussian"), seed=0, **facts)  # type: ignore[arg-type]
    card = generator.card if audit is None else generator.card.audited(audit)
    return generator_readme(card, generator.sample(num_per_class=5, seed=0), has_sheet=False)


def test_without_an_audit_the_card_says_that_nobody_looked() -> None:
    assert "**No leak audit was run.**" in readme()


def test_the_audit_is_told_with_its_numbers_and_what_it_cannot_prove() -> None:
    share = {"value": 0.531, "low": 0.5, "high": 0.56}
    found = {
        "verdict": {"kind": "fail", "reasons": ["AUC is at least 0.61"]},
        "attack": {"auc": share},
        "near_copies": {"value": 0.02},
    }

    page = readme(found)

    assert "The audit **FAILED**: `AUC is at least 0.61`" in page
    assert "AUC 0.531 (0.500 to 0.560)" in page
    assert "Near copies: 2.00%" in page
    assert "proves no privacy" in page


def test_text_of_others_can_be_no_heading_no_cell_and_no_link() -> None:
    page = readme(source="x`\n# Safe | [click](http://example.org)")

    assert "\n# Safe" not in page
    assert "`x' # Safe / [click](http://example.org)`" in page


@pytest.mark.parametrize(("licence", "expected"), [(None, "other"), ("CC BY-SA 4.0", "cc-by-sa-4.0")])
def test_metadata_name_the_licence_of_the_records(licence: str | None, expected: str) -> None:
    page = readme(**({} if licence is None else {"licence": licence}))

    front = yaml.safe_load(page.split("---")[1])
    assert front["license"] == expected
    assert "synthetic" in front["tags"]
