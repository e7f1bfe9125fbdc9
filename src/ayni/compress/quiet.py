"""Libraries of compression give advice on the root logger and as warnings; their user asked for a file.

Not covered: what is printed, by Python or past it (each caller knows where its library prints to).
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """No log records up to WARNING and no Python warnings in the block, for the whole process."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
