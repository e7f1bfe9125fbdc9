"""Forms that other runtimes execute: ONNX, OpenVINO, 16 bits, decoding with a cache; and GGUF, read."""
