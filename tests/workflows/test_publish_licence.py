"""The model's licence against that of the data."""

from typing import Any

import pytest

from ayni.hub.licences import LicenceConflictError, MissingLicenceError
from ayni.jobs.spec import JobSpec, PublishSpec
from ayni.workflows.publish_licence import check_publish_licence


class ShareAlike:
    """As much of a task as is asked."""

    def data_card(self) -> dict[str, str]:
        return {"licence": "cc-by-sa-4.0"}


def spec(publish: PublishSpec | None) -> JobSpec:
    return JobSpec(name="points", task="task:Points", publish=publish)


def test_a_licence_that_the_data_allow_passes_and_so_does_a_job_that_publishes_nothing() -> None:
    task: Any = ShareAlike()

    check_publish_licence(spec(PublishSpec(repository="me/x", licence="cc-by-sa-4.0")), task)
    check_publish_licence(spec(None), task)


@pytest.mark.parametrize(("licence", "error"), [("mit", LicenceConflictError), (None, MissingLicenceError)])
def test_a_licence_that_the_data_do_not_allow_is_refused(licence: str | None, error: type[Exception]) -> None:
    task: Any = ShareAlike()

    with pytest.raises(error):
        check_publish_licence(spec(PublishSpec(repository="me/x", licence=licence)), task)
