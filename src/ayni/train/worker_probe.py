"""The questions that a new worker of a Dask cluster must answer before it hosts a learner.

A worker that registers at the scheduler need not be reachable itself: Dask would wait for its results
for ever. So each is called back in the ways that a training needs, with a time-out.
"""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from ayni.errors import AyniError
from ayni.train import dask_worker
from ayni.train.cluster_checks import (
    VERSIONS_QUESTION,
    UnreachableWorkerError,
    WorkerFacts,
    check_versions,
    own_versions,
)


async def check_worker(client: Any, address: str, seconds: float) -> WorkerFacts:
    """Ask a worker who it is, and call it back in both ways that a training needs.

    Raises:
        PackageMismatchError: its versions do not fit ours.
        UnreachableWorkerError: the scheduler, or both it and we, cannot call it.
    """
    async with _probe(address, "scheduler", seconds):
        there = (await client.run(eval, VERSIONS_QUESTION, workers=[address]))[address]
    check_versions(address, there=there, here=own_versions())
    async with _probe(address, "scheduler", seconds):
        told = (await client.run(dask_worker.describe, workers=[address]))[address]
    facts = WorkerFacts(address=address, **told)
    try:
        async with _probe(address, "coordinator", seconds):
            await _send_and_fetch(client, address, is_direct=True)
    except UnreachableWorkerError:
        async with _probe(address, "scheduler", seconds):
            await _send_and_fetch(client, address, is_direct=False)
        return replace(facts, is_direct=False)
    return facts


async def _send_and_fetch(client: Any, address: str, *, is_direct: bool) -> None:
    """One byte there and back, by the way that models and updates take."""
    [sent] = await client.scatter([b"?"], workers=[address], hash=False, direct=is_direct)
    await client.gather(sent, direct=is_direct)


@contextlib.asynccontextmanager
async def _probe(address: str, caller: str, seconds: float) -> Any:
    """Give the block some seconds, and name the side that could not reach the worker."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (AyniError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise UnreachableWorkerError(
            worker=address, caller=caller, seconds=seconds, reason=str(error) or type(error).__name__
        ) from error
