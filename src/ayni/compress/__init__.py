"""Compress a trained model: prune, distill, quantize, export, measure, choose.

The story is `ayni.compress.pipeline.compress`; `ayni.compress.config` says what a job may ask for. The
full model is never touched: each step adds one ONNX file with its own measured row.

Nothing is imported here, so that a light install can read a job that names compression.
"""
