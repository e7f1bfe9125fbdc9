"""The scores of classes in a model's answer, whatever else it holds.

Not covered: answers whose classes are not on the last axis.
"""

from typing import Any

import torch

from ayni.compress.deploy.outputs import NoTensorOutputError, named_tensors


def class_scores(output: Any) -> torch.Tensor:
    """A tensor itself; `logits` of a named answer; the first tensor of a tuple, or of any other answer.

    Raises:
        NoTensorOutputError: there is no tensor.
    """
    tensors = named_tensors(output)
    if "logits" in tensors:
        return tensors["logits"]
    found = next((tensor for tensor in tensors.values() if tensor.is_floating_point()), None)
    if found is None:
        raise NoTensorOutputError(output)
    return found
