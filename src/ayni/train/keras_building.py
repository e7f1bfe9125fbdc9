"""What surrounds the building of a Keras model: seeds of its own, and threads of TensorFlow.

Imported only when a task has imported Keras.
"""

import contextlib
import random
import sys
from collections.abc import Iterator

import torch

from ayni.train.randomness import derive_seed


@contextlib.contextmanager
def building(*parts: object) -> Iterator[None]:
    """Build models inside the block: their initial weights are a function of the parts."""
    # Keras seeds every initializer from Python's global generator, and other threads of a Dask worker draw
    # from that too: now and then a worker had other weights. No public name leads there (3.0 to 3.15).
    from keras.src.random import seed_generator

    limit_threads()
    before = seed_generator.python_random
    seed_generator.python_random = random.Random(derive_seed(*parts))
    try:
        yield
    finally:
        seed_generator.python_random = before


def limit_threads() -> None:
    """Give TensorFlow as many threads as torch has; without effect after its first operation.

    It takes the number once in a process, and would take all cores of the machine.
    """
    if "tensorflow" not in sys.modules:
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it has begun already
        tf.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)
