"""1,000 learners of unequal speed on home links, simulated: how much of their time becomes progress.

The state machines are the real ones (ayni.train.rounds, ayni.train.async_rounds); learners, links, the
coordinator's merge and its disk are simulated event by event, so that hours of a pool take seconds.

    utilisation = time that learners compute / time that they could
    goodput     = accepted steps / steps that all learners could take, each at its own speed

Both over a time that begins with the first merge, and by when the steps were computed. Goodput is what
matters: work that is dropped or done twice is in the first number and not in the second. Not covered: what
staleness, quorum and unequal numbers of steps cost in loss; a network of other shape than a star.
"""

import functools
import heapq
import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayni.files import write_atomically
from ayni.train.async_rounds import AsyncRounds
from ayni.train.events import (
    ApplyUpdates,
    CheckpointSaved,
    Command,
    Event,
    GiveUp,
    GracePassed,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    RunRound,
    SaveCheckpoint,
    SendModel,
    StartGrace,
    UpdateReceived,
)
from ayni.train.rounds import Rounds
from benchmarks.registry import HERE, Benchmark, Outcome

PAGE = HERE.parent / "docs" / "simulation.md"
LINK_BYTES_PER_SECOND = 125e6
MOST_ROUNDS, UNDECIDED_SECONDS = 60, 3600.0
STEP_SECONDS, STEP_SPREAD, STEP_JITTER = 1.0, 0.5, 0.05
LOSSES_PER_HOUR, SECONDS_AWAY = 0.01, 300.0
NOTICE_SECONDS = 1.0
LOCAL_STEPS, SYNC_STEPS, GRACE = 500, 3, 0.1
FRAGMENTS, OVERLAP_STEPS = 4, 5
DISK_BYTES_PER_SECOND, MERGED_VALUES_PER_SECOND = 1e9, 1e9
# Parameters and momentum in fp32; an update in int8; a model or its change in bf16; gradients in fp32.
SAVED_BYTES, UP_BYTES, DOWN_BYTES, GRADIENT_BYTES = 8, 1, 2, 4
FOREVER = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A model and the coordinator's own link; None = neither it nor merging is a limit.

    `pace` is how much longer rounds take than their steps, and so how much longer to look.
    """

    name: str
    num_parameters: float
    coordinator_bytes_per_second: float | None = None
    pace: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How the pool trains."""

    name: str
    kind: str
    needs_all: bool = False
    is_scaled: bool = False
    hours: float = 2.0


SCENARIOS = (
    Scenario(name="1 billion parameters, only the learners' links limit", num_parameters=1e9),
    Scenario(
        name="10 million parameters, one coordinator at 1 Gbit/s",
        num_parameters=1e7,
        coordinator_bytes_per_second=LINK_BYTES_PER_SECOND,
    ),
    Scenario(
        name="1 billion parameters, one coordinator at 1 Gbit/s",
        num_parameters=1e9,
        coordinator_bytes_per_second=LINK_BYTES_PER_SECOND,
        pace=20.0,
    ),
)
STRATEGIES = (
    Strategy(name="sync, quorum 2/3", kind="sync", hours=1.0),
    Strategy(name="diloco, waits for all", kind="diloco", needs_all=True, hours=5.0),
    Strategy(name="diloco, quorum 2/3", kind="diloco"),
    Strategy(name="diloco, quorum 2/3, steps by speed", kind="diloco", is_scaled=True),
    Strategy(name="streaming, quorum 2/3, steps by speed", kind="streaming", is_scaled=True, hours=1.0),
    Strategy(name="async", kind="async", hours=2.0),
    Strategy(name="async, steps by speed", kind="async", is_scaled=True, hours=2.0),
)


@dataclass(slots=True)
class Link:
    """A link that carries one transfer after the other. None is never full."""

    bytes_per_second: float | None
    free_at: float = 0.0

    def arrival(self, now: float, num_bytes: float) -> float:
        """When a transfer that is asked for now has passed this link and a learner's own."""
        own = now + num_bytes / LINK_BYTES_PER_SECOND
        if self.bytes_per_second is None:
            return own
        self.free_at = max(now, self.free_at) + num_bytes / self.bytes_per_second
        return max(own, self.free_at)


@dataclass(slots=True, eq=False)
class Task:
    """What a learner does: it computes, may wait for a part of the model, computes on, and sends."""

    order: RunRound
    step_seconds: float
    waits_for_part: bool = False
    computing: list[tuple[float, float]] = field(default_factory=list)


class Pool:
    """One strategy in one scenario with one seed."""

    def __init__(self, scenario: Scenario, strategy: Strategy, *, num_learners: int, seed: int) -> None:
        self.scenario, self.strategy, self.num_learners = scenario, strategy, num_learners
        self.kind = strategy.kind
        self.num_values = scenario.num_parameters / (FRAGMENTS if self.kind == "streaming" else 1)
        self.round_steps = LOCAL_STEPS // (FRAGMENTS if self.kind == "streaming" else 1)
        self.grace_seconds = GRACE * STEP_SECONDS * self.round_steps
        self.seen_round, self.round_began_at = 0, 0.0
        self.rng = np.random.default_rng(seed)
        self.step_seconds = STEP_SECONDS * self.rng.lognormal(0.0, STEP_SPREAD, num_learners)
        self.machine = self._machine()
        self.up = Link(scenario.coordinator_bytes_per_second)
        self.down = Link(scenario.coordinator_bytes_per_second)
        self.now = self.merged_at = 0.0
        self.last_merged = 0
        self.heap: list[tuple[float, int, functools.partial[None]]] = []
        self.ticket = itertools.count()
        self.tasks: dict[int, Task] = {}
        self.holds_model: set[int] = set()
        self.brought: dict[tuple[int, int], Task] = {}
        self.computed: list[tuple[float, float]] = []
        self.accepted: list[tuple[float, float, float]] = []
        self.merges: list[float] = []

    def _machine(self) -> Rounds | AsyncRounds:
        common: dict[str, Any] = {
            "num_learners": self.num_learners,
            "num_rounds": FOREVER,
            "max_attempts": FOREVER,
            "steps_for": self._steps_for,
        }
        if self.kind == "async":
            steps = self.num_learners * self.round_steps
            return AsyncRounds(**common, steps_per_round=steps, needed_updates=1, max_staleness=8)
        needed = self.num_learners if self.strategy.needs_all else -(-2 * self.num_learners // 3)
        is_gang, is_streaming = self.kind == "sync", self.kind == "streaming"
        return Rounds(
            **common,
            needed_updates=needed,
            has_time=self._has_time,
            is_gang=is_gang,
            is_streaming=is_streaming,
        )

    def _has_time(self) -> bool:
        """Whether a round began so lately that its time of grace covers the delay."""
        if self.machine.round != self.seen_round:
            self.seen_round, self.round_began_at = self.machine.round, self.now
        return self.now - self.round_began_at <= self.grace_seconds

    def _steps_for(self, learner: int) -> int:
        if self.kind == "sync":
            return SYNC_STEPS
        scale = STEP_SECONDS / self.step_seconds[learner] if self.strategy.is_scaled else 1.0
        return max(1, int(scale * self.round_steps))

    def run(self) -> tuple[float, float]:
        """Utilisation and goodput."""
        horizon = 3600 * self.strategy.hours * self.scenario.pace
        for learner in range(self.num_learners):
            self.at(0.0, self.join, learner)
        while self.heap[0][0] < horizon and self.num_rounds < MOST_ROUNDS:
            self.now, _, happen = heapq.heappop(self.heap)
            happen()
        for learner in list(self.tasks):
            self.stop(learner)
        return self.result()

    @property
    def num_rounds(self) -> int:
        """Merges so far; without a barrier there is no telling a round by them."""
        return 0 if self.kind == "async" else len(self.merges)

    def result(self) -> tuple[float, float]:
        """Over the time between two merges; zero for a pool that hardly ever merges."""
        if len(self.merges) < 2:
            return 0.0, 0.0
        # Without a barrier, what was computed towards the end is not decided yet.
        undecided_seconds = UNDECIDED_SECONDS * self.scenario.pace if self.kind == "async" else 0.0
        end = self.merges[-1] - undecided_seconds
        window = end - self.merges[0]
        computed = np.array(self.computed).clip(self.merges[0], end)
        accepted = np.array(self.accepted)
        spans = accepted[:, :2].clip(self.merges[0], end)
        num_steps = ((spans[:, 1] - spans[:, 0]) / accepted[:, 2]).sum()
        utilisation = (computed[:, 1] - computed[:, 0]).sum() / (window * self.num_learners)
        return float(utilisation), float(num_steps / (window / self.step_seconds).sum())

    def at(self, when: float, happen: Callable[..., None], *arguments: Any) -> None:
        entry = (when, next(self.ticket), functools.partial(happen, *arguments))
        heapq.heappush(self.heap, entry)

    def tell(self, event: Event) -> None:
        for command in self.machine.handle(event):
            self.carry_out(command)

    # Learners come, go and work.

    def join(self, learner: int) -> None:
        self.at(self.now + self.rng.exponential(3600 / LOSSES_PER_HOUR), self.lose, learner)
        self.tell(LearnerJoined(learner=learner))

    def lose(self, learner: int) -> None:
        task = self.stop(learner)
        self.holds_model.discard(learner)
        self.at(self.now + self.rng.exponential(SECONDS_AWAY), self.join, learner)
        self.tell(LearnerLost(learner=learner))
        for other in task.order.members if task else ():
            # The other members of a gang wait for the lost one, and fail when they notice.
            if other in self.tasks:
                self.at(self.now + NOTICE_SECONDS, self.fail, self.tasks[other])

    def fail(self, task: Task) -> None:
        order = task.order
        if self.tasks.get(order.learner) is task:
            self.stop(order.learner)
            self.tell(LearnerFailed(round=order.round, learner=order.learner, attempt=order.attempt))

    def stop(self, learner: int) -> Task | None:
        """End what a learner does, and note how long it computed."""
        task = self.tasks.pop(learner, None)
        if task is not None:
            self.computed += [
                (start, min(end, self.now)) for start, end in task.computing if start < self.now
            ]
        return task

    def send(self, task: Task) -> None:
        if self.tasks.get(task.order.learner) is not task:
            return
        num_bytes = self.num_values * UP_BYTES
        if self.kind == "sync":
            # All members end at the same parameters: the first sends them.
            num_bytes = self.num_values * GRADIENT_BYTES * (task.order.learner == task.order.members[0])
        self.at(self.up.arrival(self.now, num_bytes), self.deliver, task)

    def deliver(self, task: Task) -> None:
        order = task.order
        if self.tasks.get(order.learner) is not task:
            return
        self.stop(order.learner)
        self.holds_model.add(order.learner)
        self.brought[self.key(order.learner, order.round)] = task
        self.tell(UpdateReceived(round=order.round, learner=order.learner, attempt=order.attempt))

    def key(self, learner: int, round_: int) -> tuple[int, int]:
        """Which update is meant; without a barrier a learner has one at a time, and its round is a turn."""
        return learner, 0 if self.kind == "async" else round_

    # What the state machine wants.

    def carry_out(self, command: Command) -> None:
        match command:
            case RunRound():
                self.start(command)
            case SendModel():
                self.send_part(command)
            case ApplyUpdates():
                self.merge(command)
            case SaveCheckpoint():
                saved_at = self.merged_at + self.scenario.num_parameters * SAVED_BYTES / DISK_BYTES_PER_SECOND
                self.at(saved_at, self.tell, CheckpointSaved(round=command.round))
            case StartGrace():
                self.at(self.now + self.grace_seconds, self.tell, GracePassed(round=command.round))
            case GiveUp():
                raise RuntimeError(f"the simulated pool gave up: {command}")
            case _:
                pass

    def merge(self, command: ApplyUpdates) -> None:
        num_updates = 1 if self.kind == "sync" else len(command.attempts)
        is_limit = self.scenario.coordinator_bytes_per_second is not None
        seconds = is_limit * num_updates * self.num_values / MERGED_VALUES_PER_SECOND
        self.merged_at = max(self.now, self.merged_at) + seconds
        self.last_merged = command.round
        self.merges.append(self.now)
        for learner, _ in command.attempts:
            task = self.brought.pop(self.key(learner, command.round))
            self.accepted += [(*span, task.step_seconds) for span in task.computing]

    def start(self, order: RunRound) -> None:
        learner, num_steps = order.learner, order.num_steps
        seconds = self.step_seconds[learner] * self.rng.lognormal(0.0, STEP_JITTER)
        self.tasks[learner] = task = Task(order=order, step_seconds=seconds)
        if order.members:
            every = self.gang_step_seconds(order.members)
            steps = [self.now + step * every for step in range(num_steps)]
            task.computing = [(begin, begin + self.step_seconds[learner]) for begin in steps]
            self.at(self.now + num_steps * every, self.send, task)
            return
        is_ahead = self.kind == "streaming" and order.round - 1 > self.last_merged
        if is_ahead and learner in self.holds_model:
            begin = self.now
        else:
            ready = max(self.now, self.merged_at)
            begin = self.down.arrival(ready, self.scenario.num_parameters * DOWN_BYTES)
        task.waits_for_part = is_ahead and num_steps > OVERLAP_STEPS
        end = begin + seconds * (OVERLAP_STEPS if task.waits_for_part else num_steps)
        task.computing = [(begin, end)]
        if not task.waits_for_part:
            self.at(end, self.send, task)

    @functools.lru_cache(maxsize=2)  # noqa: B019  # a pool lives as long as its run
    def gang_step_seconds(self, members: tuple[int, ...]) -> float:
        """One step of the slowest member, and a ring all-reduce of the gradients over everybody's link."""
        ring = 2 * self.num_values * GRADIENT_BYTES / LINK_BYTES_PER_SECOND
        return float(self.step_seconds[list(members)].max()) + ring

    def send_part(self, command: SendModel) -> None:
        """Bring the merged part to a learner, which goes on when it is there."""
        task = self.tasks[command.learner]
        if not task.waits_for_part:
            return
        task.waits_for_part = False
        arrival = self.down.arrival(max(self.now, self.merged_at), self.num_values * DOWN_BYTES)
        begin = max(task.computing[0][1], arrival)
        end = begin + (task.order.num_steps - OVERLAP_STEPS) * task.step_seconds
        task.computing.append((begin, end))
        self.at(end, self.send, task)


def measure(quick: bool) -> Outcome:
    """Means over the seeds; the full form also writes docs/simulation.md."""
    seeds = (1,) if quick else (1, 2, 3)
    num_learners = 100 if quick else 1000
    values: dict[str, Any] = {"learners": num_learners}
    lines: list[str] = []
    for scenario in SCENARIOS:
        lines += [f"\n## {scenario.name}\n", "| strategy | utilisation | goodput |", "|---|---|---|"]
        for strategy in STRATEGIES:
            runs = [Pool(scenario, strategy, num_learners=num_learners, seed=seed).run() for seed in seeds]
            used, good = (statistics.mean(column) for column in zip(*runs, strict=True))
            values[f"goodput: {scenario.name}: {strategy.name}"] = good
            spread = max(run[1] for run in runs) - min(run[1] for run in runs)
            lines.append(f"| {strategy.name} | {used:.1%} | {good:.1%} (spread {spread:.1%}) |")
    if not quick:
        write_atomically(PAGE, (HEADER.format(num_learners=num_learners) + "\n".join(lines) + "\n").encode())
    best = max(values[f"goodput: {SCENARIOS[0].name}: {strategy.name}"] for strategy in STRATEGIES)
    return Outcome(values=values, seeds=seeds, met=best >= 0.9)


HEADER = """# A pool of {num_learners} learners, simulated

Made by `python -m benchmarks run simulated_pool`; do not edit. The state machines are the real ones
(`ayni.train.rounds`, `ayni.train.async_rounds`); learners, links and the coordinator are simulated.

- *Utilisation*: time that learners compute, of the time that they could. *Goodput*: accepted steps, of those
  that all learners could take at their own speed; what is dropped or done twice does not count.
- A step takes 1 s in the median, lognormal with sigma 0.5 (the slowest of 1,000 takes about 5 s), and each
  attempt varies by 5 %. A learner is lost once in 100 hours (1 % an hour), and back after 5 minutes (mean).
- Every learner has 1 Gbit/s each way. Updates travel in int8, models and their changes in bf16; `sync`
  averages gradients in fp32 around a ring at each step.
- A round has 500 steps, or with "steps by speed" as many as fit into 500 s; `streaming` sends a quarter of
  the model after each 125; `sync` has 3 steps a round, because longer ones seldom end without a loss. The
  grace is a tenth of that.
- The coordinator writes checkpoints at 1 GB/s and, where its link is a limit, merges 1 billion values a
  second.

Means over the seeds 1, 2 and 3. What this does not say: how much each accepted step brings. Steps of stale or
unequal updates may bring less.
"""

BENCHMARK = Benchmark(
    name="simulated_pool",
    topic="training",
    bar="1,000 simulated learners of unequal speed, 1 % loss an hour, 1 billion parameters over links of "
    "1 Gbit/s: the best strategy's goodput is at least 90 %",
    seconds_quick=15,
    seconds_full=300,
    measure=measure,
)
