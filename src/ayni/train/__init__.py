"""Train one model with several learners at once: rounds, strategies, engines, checkpoints.

Start with `training.py` (the coordinator's loop) and `rounds.py` (what it decides). `learner.py` is
what runs on a worker; `dask_engine.py` and `in_process_engine.py` are the two places where it runs.

Light to import: torch, numpy and dask are loaded by the modules that need them. `config`, `rounds`,
`result` and `accepted` need none of them.

Not covered: learners of several organisations (one engine is one trust domain), models that do not
fit on one device, and asynchronous updates: a round ends when each learner has sent its update.
"""
