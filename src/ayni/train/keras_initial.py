"""Transfer learning with Keras: the first weights of a built model from a safetensors file that Ayni wrote.

Not covered: `.keras` and `.h5` files (load them in build_model), and files of torch models.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ayni.keras_weights import named_weights
from ayni.train.array_file import DamagedArrayFileError, read_arrays
from ayni.train.initial import InitialWeightsError


def load_keras_initial(model: Any, path: Path) -> list[str]:
    """Take over what fits by name and shape; says how much of either side was left out.

    Raises:
        InitialWeightsError: no such file, no safetensors file, values that are not finite, or nothing fits.
    """
    weights, num_fitting, num_others = named_weights(model), 0, 0
    try:
        for name, array in read_arrays(path):
            if name not in weights or array.shape != tuple(weights[name].shape):
                num_others += 1
                continue
            if not np.isfinite(array).all():
                raise InitialWeightsError(path, f"has values in {name} that are not finite")
            weights[name].assign(np.array(array))
            num_fitting += 1
    except FileNotFoundError as error:
        raise InitialWeightsError(path, "does not exist") from error
    except (OSError, DamagedArrayFileError) as error:
        raise InitialWeightsError(path, f"is not a safetensors file ({error})") from error
    if num_fitting == 0:
        first = next((f"{name} {tuple(weight.shape)}" for name, weight in weights.items()), "no weights")
        raise InitialWeightsError(
            path, f"has {num_others} arrays, and none fits the model's weights, which begin with {first}"
        )
    found = [
        (len(weights) - num_fitting, "init_from has nothing for {} of the model's weights: built anew"),
        (num_others, "init_from has {} arrays that the model does not"),
    ]
    return [text.format(count) for count, text in found if count]
