import pickle
import traceback

from ayni.task import TaskFailedError
from ayni.train.local import NonFiniteLossError
from ayni.train.packed_error import LearnerError, pack_error, unpack_error


def through_a_wire(error: Exception) -> Exception:
    return unpack_error(pickle.loads(pickle.dumps(pack_error(error))))


def test_errors_with_keyword_arguments_survive_the_wire() -> None:
    error = NonFiniteLossError(loss=float("inf"), where="step 1", learning_rate=0.1)

    received = through_a_wire(error)

    assert type(received) is NonFiniteLossError
    assert str(received) == str(error)
    assert received.where == "step 1"
    assert received.exit_code == 2


def test_the_workers_traceback_comes_along_where_only_a_traceback_shows_it() -> None:
    try:
        raise TaskFailedError(method="loss", cause=KeyError("label"))
    except TaskFailedError as error:
        received = through_a_wire(error)

    assert "test_packed_error.py" in "".join(traceback.format_exception(received))
    assert "test_packed_error.py" not in str(received)
    assert not hasattr(received, "__notes__")


def test_a_foreign_error_becomes_one_of_ours_that_names_it() -> None:
    received = through_a_wire(RuntimeError("connection closed by peer"))

    assert isinstance(received, LearnerError)
    assert str(received) == "RuntimeError: connection closed by peer"
