import pytest

from ayni.hub.inheritance import PASSED_ON, Parent, Relation, inheritance
from ayni.hub.licences import KNOWN_LICENCES, LicenceConflictError, check_licence


def parent(*licences: str, relation: Relation = "base", name: str = "a/b") -> Parent:
    return Parent(name=name, relation=relation, licences=licences)


@pytest.mark.parametrize(
    ("own", "base", "allowed"),
    [
        ("mit", "apache-2.0", True),
        ("apache-2.0", "cc-by-nc-4.0", False),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", True),
        ("mit", "gpl-3.0", False),
        ("agpl-3.0", "gpl-3.0", True),
        ("mit", "llama3.1", False),
        ("llama3.1", "llama3.1", True),
        ("openrail", "gemma", False),
        ("mit", "other", True),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", False),
    ],
)
def test_a_derived_model_may_not_be_freer_than_its_base(own: str, base: str, allowed: bool) -> None:
    assert inheritance([own], [parent(base)]).is_allowed is allowed


def test_data_agree_with_the_check_of_published_models() -> None:
    """Oracle: licences.check_licence, for every pair of licences."""
    for own in sorted(KNOWN_LICENCES):
        for data in sorted(KNOWN_LICENCES):
            try:
                check_licence(own, data)
                allowed = True
            except LicenceConflictError:
                allowed = False
            assert inheritance([own], [parent(data, relation="data")]).is_allowed is allowed, (own, data)


def test_all_parents_narrow_what_is_left() -> None:
    found = inheritance(
        ["mit"], [parent("cc-by-sa-4.0"), parent("cc-by-sa-3.0", relation="data", name="c/d"), parent("mit")]
    )

    assert found.allowed == ("cc-by-sa-4.0",)
    assert len(found.conflicts) == 2
    assert found.conflicts[1].startswith(
        "mit is freer than the data c/d (cc-by-sa-3.0): it allows cc-by-sa-3.0"
    )


def test_parents_that_contradict_each_other_leave_nothing() -> None:
    found = inheritance(["llama3"], [parent("llama3"), parent("gemma", name="c/d")])

    assert found.allowed == ()
    assert len(found.conflicts) == 1


def test_an_unknown_licence_is_said_and_binds_nothing() -> None:
    found = inheritance(
        ["mit"], [parent(), parent("my own terms", name="c/d"), parent("unknown", name="e/f")]
    )

    assert found.is_allowed
    assert found.unknown == ("a/b", "c/d", "e/f")


def test_of_several_licences_of_a_base_the_freest_counts_and_of_several_own_ones_each() -> None:
    assert inheritance(["mit"], [parent("gpl-3.0", "apache-2.0")]).is_allowed
    assert not inheritance(["mit", "gpl-3.0"], [parent("gpl-3.0")]).is_allowed
    assert inheritance([], [parent("gpl-3.0")]).allowed == ("agpl-3.0", "gpl-3.0")


def test_own_terms_that_are_passed_on_are_known_licences() -> None:
    assert PASSED_ON <= KNOWN_LICENCES
