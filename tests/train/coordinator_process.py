"""A coordinator in a process of its own, for tests that kill it: task, strategy, folder."""

import sys
from pathlib import Path

from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.dask_engine import DaskEngine
from ayni.train.result import SilentObserver
from ayni.train.training import train

if __name__ == "__main__":
    task_name, strategy, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    task = TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name=task_name)
    config = TrainConfig(strategy=strategy, learners=2, rounds=8, local_steps=4, batch_size=8)  # type: ignore[arg-type]
    with DaskEngine(2) as engine:
        Path(folder, "workers").write_text(" ".join(map(str, engine.worker_process_ids())))
        train(
            task,
            config,
            seed=3,
            folder=folder,
            spill_folder=folder / "spill",
            engine=engine,
            observer=SilentObserver(),
        )
