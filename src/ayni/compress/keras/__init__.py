"""Models of Keras: its own quantization, LiteRT, and TFMOT for legacy models."""
