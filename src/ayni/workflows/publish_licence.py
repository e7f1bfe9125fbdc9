"""May the result be published under the licence that the job asks for?

Asked before work begins, and again when the job is amended.
"""

from ayni.data.card import read_data_card
from ayni.hub.licences import check_licence, check_licence_is_given
from ayni.jobs.spec import JobSpec
from ayni.task import Task


def check_publish_licence(spec: JobSpec, task: Task) -> None:
    """Hold the job's licence against that of the task's data; a job that publishes nothing passes.

    Raises:
        LicenceConflictError: the data do not allow the model's licence.
        MissingLicenceError: the data's licence binds the model's, and the job gives none.
        TaskFailedError, DataCardError: the task's data card cannot be read.
    """
    if spec.publish is None:
        return
    of_data = read_data_card(task).licence
    check_licence_is_given(spec.publish.licence, of_data)
    if spec.publish.licence is not None:
        check_licence(spec.publish.licence, of_data)
