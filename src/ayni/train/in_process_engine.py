"""An engine without processes: learners run one after another in the caller's thread.

The twin of `DaskEngine` for tests, and the one process with one thread that the speed-up is compared
with. The caller's random generators are left as they were.
"""

from collections import deque

from ayni.train.engine import EngineEvent, LearnerUpdate, Order, PlaceFound, Session
from ayni.train.learner import Learner, RoundOfWork
from ayni.train.local import one_thread
from ayni.train.randomness import RandomStates, random_states, set_random_states
from ayni.train.sync import run_alone, run_together


class InProcessEngine:
    """Learners in this process. Fulfils ayni.train.engine.Engine."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._learners: dict[int, Learner] = {}
        self._orders: dict[int, Order] = {}
        self._events: deque[EngineEvent] = deque()

    def open(self, session: Session) -> None:
        """Build all learners; errors of the task are raised here."""
        self._session = session
        self._orders.clear()
        self._events.clear()
        task = session.task.load()
        self._learners = {
            learner: Learner(session, task, learner) for learner in range(session.config.learners)
        }
        self._events.extend(PlaceFound(learner=learner) for learner in self._learners)

    def start(self, order: Order) -> None:
        """Remember the attempt; it runs in `wait`."""
        self._orders[order.learner] = order

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        """Run what was started, whatever the time-out: nothing else could happen meanwhile."""
        if not self._events:
            self._run_orders()
        events = list(self._events)
        self._events.clear()
        return events

    def _run_orders(self) -> None:
        assert self._session is not None, "open comes first"
        before = random_states()
        orders = [self._orders.pop(learner) for learner in sorted(self._orders)]
        with one_thread():
            if self._session.config.strategy == "sync" and orders:
                works = [
                    _with_own_random_states(self._learners[order.learner].run_round(order))
                    for order in orders
                ]
                self._events.extend(run_together(works))
            else:
                self._events.extend(self._run(order) for order in orders)
        set_random_states(before)

    def _run(self, order: Order) -> LearnerUpdate:
        return run_alone(self._learners[order.learner].run_round(order))


def _with_own_random_states(work: RoundOfWork) -> RoundOfWork:
    """Let several generators that draw random numbers take turns without disturbing each other."""
    states: RandomStates | None = None
    while True:
        if states is not None:
            set_random_states(states)
        try:
            tensors = next(work)
        except StopIteration as stop:
            update: LearnerUpdate = stop.value
            return update
        states = random_states()
        yield tensors
