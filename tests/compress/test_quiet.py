"""Advice of libraries is kept away, and only inside the block."""

import logging
import warnings

import pytest

from ayni.compress.quiet import without_advice


def advise() -> None:
    logging.getLogger("some.library").warning("consider something else")
    warnings.warn("this will go", FutureWarning, stacklevel=2)


def test_advice_is_heard_again_after_the_block(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with without_advice():
            advise()
        in_block = (len(heard), len(caplog.records))
        advise()

    assert in_block == (0, 0)
    assert (len(heard), len(caplog.records)) == (1, 1)


def test_errors_are_heard_and_an_exception_ends_the_silence(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError), without_advice():
        logging.getLogger("some.library").error("broken")
        raise RuntimeError

    assert [record.message for record in caplog.records] == ["broken"]
    assert logging.root.manager.disable == logging.NOTSET


def test_whoever_silenced_more_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    logging.disable(logging.CRITICAL)
    try:
        with without_advice():
            logging.getLogger("some.library").error("broken")
        after = logging.root.manager.disable
    finally:
        logging.disable(logging.NOTSET)

    assert (after, caplog.records) == (logging.CRITICAL, [])
