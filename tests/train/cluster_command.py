"""Train the tiny task on the cluster that a recipe started; called as `ayni run` is.

python cluster_command.py FOLDER [TASK] --set train.engine=ADDRESS --set train.learners=N
"""

import dataclasses
import json
import sys
from pathlib import Path

from ayni.files import write_atomically
from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.dask_engine import make_engine
from ayni.train.result import SilentObserver
from ayni.train.training import train


def main(arguments: list[str]) -> None:
    first_option = arguments.index("--set")
    folder, task = Path(arguments[0]), "Tiny" if first_option == 1 else arguments[1]
    settings = dict(text.removeprefix("train.").split("=") for text in arguments[first_option + 1 :: 2])
    engine_address = settings.pop("engine")
    numbers = {
        "rounds": 3,
        "local_steps": 4,
        "batch_size": 8,
        **{key: int(settings[key]) for key in settings},
    }
    config = TrainConfig(engine=engine_address, **numbers)  # type: ignore[arg-type]
    with make_engine(config) as engine:
        result = train(
            TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name=task),
            config,
            seed=3,
            folder=folder,
            spill_folder=folder / "spill",
            engine=engine,
            observer=SilentObserver(),
        )
        process_ids = engine.worker_process_ids()
    found = {**dataclasses.asdict(result), "worker_process_ids": process_ids}
    write_atomically(folder / "result.json", json.dumps(found).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
