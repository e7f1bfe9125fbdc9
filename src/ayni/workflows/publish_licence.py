"""May the result be published under the licence that the job asks for, and pictures of its test data?

Asked before work begins, and again when the job is amended.
"""

from ayni.data.card import read_data_card
from ayni.errors import UserError
from ayni.hub.licences import check_licence, check_licence_is_given, why_not_shown
from ayni.jobs.spec import JobSpec
from ayni.task import Task


class PicturesNotAllowedError(UserError):
    """The job asks for pictures of test examples on the card, and they may not be shown."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"publish.pictures is true, and test examples are not to be shown: {reason}. Leave "
            "publish.pictures out, or name the data's licence in the task's data card."
        )


def check_pictures(spec: JobSpec, task: Task) -> None:
    """Hold `publish.pictures` against the data's licence and the job's promise of privacy.

    Raises:
        PicturesNotAllowedError: see there.
        TaskFailedError, DataCardError: the task's data card cannot be read.
    """
    if spec.publish is None or not spec.publish.pictures:
        return
    if spec.train.privacy is not None:
        # The promise is about training examples; whoever asks for it does not mean to show their like.
        raise PicturesNotAllowedError("the job promises privacy (train.privacy)")
    if reason := why_not_shown(read_data_card(task).licence):
        raise PicturesNotAllowedError(reason)


def check_publish_licence(spec: JobSpec, task: Task) -> None:
    """Hold the job's licence against that of the task's data; a job that publishes nothing passes.

    Raises:
        PicturesNotAllowedError: pictures of test examples are asked for, and may not be shown.
        LicenceConflictError: the data do not allow the model's licence.
        MissingLicenceError: the data's licence binds the model's, and the job gives none.
        TaskFailedError, DataCardError: the task's data card cannot be read.
    """
    if spec.publish is None:
        return
    check_pictures(spec, task)
    of_data = read_data_card(task).licence
    check_licence_is_given(spec.publish.licence, of_data)
    if spec.publish.licence is not None:
        check_licence(spec.publish.licence, of_data)
