import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import catalogue, policies
from ayni.hub.weights_policy import DEFAULT_POLICY

__all__ = ["connection"]


def test_a_namespace_has_the_default_until_it_gets_a_policy_of_its_own(connection: sa.Connection) -> None:
    repository = catalogue.create(connection, "model", "Lab/x", visibility="public", when=WHEN)
    before = policies.policy_of(connection, repository)

    policies.set_policy(connection, "lab", "open")
    policies.set_policy(connection, "LAB", "safetensors-only")

    assert before == DEFAULT_POLICY
    assert policies.policy_of(connection, repository) == "safetensors-only"
    assert policies.policy_in(connection, "other") == DEFAULT_POLICY


def test_an_unknown_policy_is_refused_with_the_known_ones(connection: sa.Connection) -> None:
    with pytest.raises(policies.UnknownRepositoryPolicyError, match="no-danger"):
        policies.set_policy(connection, "lab", "strict")
