"""Programs for the model card: how to use a published model without Ayni.

They are run by the tests as they stand on the card, in the folder of a published repository.

Not covered: several inputs; `config.json` describes one.
"""

from ayni.hub.config import WEIGHTS_FILE, ModelConfig


def model_code(config: ModelConfig, *, task_is_built: bool) -> str:
    """Python that uses the full model, to be run in the repository's folder.

    Args:
        config: of the published model.
        task_is_built: the task's name is an object already, and no class or function to call.
    """
    write = _keras_code if config.library == "keras" else _torch_code
    return write(config, task_is_built=task_is_built)


def onnx_code(config: ModelConfig, file: str) -> str:
    """Python that runs an ONNX variant, to be run in the repository's folder; no code of the task runs."""
    shape = ", ".join(str(size) for size in (1, *config.input_shape))
    return (
        "import numpy\n"
        "import onnxruntime\n"
        "\n"
        f"session = onnxruntime.InferenceSession({file!r})\n"
        f"example = numpy.zeros(({shape}), {config.input_dtype!r})\n"
        "print(session.run(None, {session.get_inputs()[0].name: example})[0].shape)\n"
    )


def _keras_code(config: ModelConfig, *, task_is_built: bool) -> str:
    module, name = config.task_file.removesuffix(".py"), config.task_object
    built = name if task_is_built else f"{name}()"
    shape = ", ".join(str(size) for size in (1, *config.input_shape))
    return (
        "import numpy\n"
        "from safetensors.numpy import load_file\n"
        f"from {module} import {name}  # {module}.py of this repository builds the model\n"
        "\n"
        f"model = {built}.build_model()\n"
        f"example = numpy.zeros(({shape}), {config.input_dtype!r})\n"
        "model(example)  # a model of Keras may have its weights only now\n"
        f"weights = load_file({WEIGHTS_FILE!r})\n"
        "model.set_weights([weights[name] for name in sorted(weights)])\n"
        "print(model(example).shape)\n"
    )


def _torch_code(config: ModelConfig, *, task_is_built: bool) -> str:
    module, name = config.task_file.removesuffix(".py"), config.task_object
    built = name if task_is_built else f"{name}()"
    shape = ", ".join(str(size) for size in (1, *config.input_shape))
    return (
        "import torch\n"
        "from safetensors.torch import load_model\n"
        f"from {module} import {name}  # {module}.py of this repository builds the model\n"
        "\n"
        f"model = {built}.build_model()\n"
        f"load_model(model, {WEIGHTS_FILE!r})\n"
        "model.eval()\n"
        "with torch.no_grad():\n"
        f"    print(model(torch.zeros({shape}, dtype=torch.{config.input_dtype})).shape)\n"
    )
