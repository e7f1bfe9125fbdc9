"""Benchmarks: claims of speed, accuracy and cost that anybody can measure again.

`python -m benchmarks list` names them, `python -m benchmarks run NAME` measures one and appends a row
to `benchmarks/results/NAME.jsonl`, and `docs/benchmarks.md` is made from the rows. A benchmark is a
module in this folder with a `BENCHMARK`; adding one is adding a file.
"""
