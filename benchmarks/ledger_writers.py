"""Sixty-four processes write to one ledger and are killed at random: nothing is lost, made or paid twice.

Each writer is a site that settles leases: it holds escrow, books a debit note for each tick, gives the rest
back and pays out, for 16 leases at once. A settled transaction is one entry of the ledger (a hold, a debit
note, a release or a pay-out): it has its idempotency key looked up, its balances checked, sums to zero, is
chained to the entry before by its hash, and is flushed to the disk before its writer is told. Buyers are
shared by all writers, so they contend for the same accounts.

A killed writer (SIGKILL) is started anew and repeats its last two portions, as one does that does not know
what became of them; on PostgreSQL the server itself is crashed once too. At the end every account must hold
what follows from the finished leases by arithmetic, to the micro-credit, and the whole book is checked.

Not covered: writers on other machines, and disks that lie about flushing.
"""

import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from ayni.database import BusyDatabaseError, Database, LostDatabaseError
from ayni.market import movements
from ayni.market.double_entry import CLIMATE_FUND, GRANTS, SURPLUS, VERIFICATION_FUND, available
from ayni.market.ledger import Lease, Ledger
from ayni.market.metering import DebitNote, LeasePrice
from ayni.market.movements import Movement
from ayni.market.store import DatabaseLedgerStore
from benchmarks.postgresql_server import PostgresqlServer
from benchmarks.registry import Benchmark, Outcome

T = TypeVar("T")
NUM_WRITERS = 64
NUM_BUYERS = 8
NUM_TICKS = 6
# One hold, the ticks, the release and the pay-out.
STEPS_PER_LEASE = NUM_TICKS + 3
GRANT = 10**14
ESCROW = 1_000_000
PRICE = LeasePrice(
    reserved_unit_seconds=3600,
    seller_microcredits=360_000,
    climate_microcredits=36_000,
    payment_microcredits=540_000,
)
TICK_UNIT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What all writers do until they are told to stop."""

    place: Path | str
    leases_at_once: int
    seconds: float
    kills: bool


class Shared:
    """What a writer leaves to others, also when it is killed: in memory that outlives it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        # Portions of each writer that it was told of.
        self.acknowledged = context.RawArray("q", NUM_WRITERS)
        self.longest_wait_seconds = context.RawArray("d", NUM_WRITERS)
        self.num_waited_too_long = context.RawArray("q", NUM_WRITERS)
        self.is_over = context.RawValue("b", 0)


def measure(quick: bool) -> Outcome:
    """Writers with and without kills on both systems; the bar asks PostgreSQL for its rate."""
    seconds = 6.0 if quick else 40.0
    values: dict[str, Any] = {"writers": NUM_WRITERS, "seconds_each": seconds}
    with PostgresqlServer() as server:
        values |= _measured("postgresql", server.new_database, seconds, crash=_crash_of(server))
        values["postgresql_version"] = server.execute("SHOW server_version")[0][0].split()[0]
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(100))
        values |= _measured("sqlite", lambda: Path(folder) / f"{next(numbers)}.db", seconds, crash=None)
    sound = all(values[f"{name}_problems"] == 0 for name in ("postgresql", "sqlite"))
    return Outcome(values=values, seeds=(1,), met=sound and values["postgresql_settled_per_second"] >= 1000)


def _crash_of(server: PostgresqlServer) -> Callable[[], None]:
    def crash() -> None:
        server.crash()
        server.start()

    return crash


def _measured(
    name: str, new_place: Callable[[], Path | str], seconds: float, *, crash: Callable[[], None] | None
) -> dict[str, Any]:
    plain = Load(place=new_place(), leases_at_once=16, seconds=seconds, kills=False)
    singly = Load(place=new_place(), leases_at_once=1, seconds=seconds / 2, kills=False)
    killed = Load(place=new_place(), leases_at_once=16, seconds=seconds, kills=True)
    found = [_run(plain), _run(singly), _run(killed, crash=crash)]
    return {
        f"{name}_settled_per_second": round(found[0]["per_second"]),
        f"{name}_settled_per_second_one_by_one": round(found[1]["per_second"]),
        f"{name}_settled_per_second_with_kills": round(found[2]["per_second"]),
        f"{name}_settled": sum(each["settled"] for each in found),
        f"{name}_kills": found[2]["kills"],
        f"{name}_server_crashes": found[2]["crashes"],
        f"{name}_waited_too_long": sum(each["busy"] for each in found),
        f"{name}_longest_wait_seconds": round(max(each["longest"] for each in found), 2),
        f"{name}_problems": sum(len(each["problems"]) for each in found),
        f"{name}_first_problem": next((each["problems"][0] for each in found if each["problems"]), None),
    }


def _run(load: Load, *, crash: Callable[[], None] | None = None) -> dict[str, Any]:
    """Let the writers write, and compare what is there then with what must be."""
    database = Database(load.place)
    ledger = Ledger(DatabaseLedgerStore(database))
    for buyer in range(NUM_BUYERS):
        ledger.grant_once(f"buyer{buyer}", amount_microcredits=GRANT, policy="new-member")
    database.close()
    context = multiprocessing.get_context("fork")
    shared = Shared()

    def start(writer: int) -> BaseProcess:
        process = context.Process(target=_write, args=(load, writer, shared))
        process.start()
        return process

    writers = [start(writer) for writer in range(NUM_WRITERS)]
    # Until everybody's first portion is through, processes are starting and not writing.
    _wait_for(lambda: min(shared.acknowledged) > 0, seconds=300)
    began, settled_before = time.monotonic(), _num_settled(shared, load)
    num_kills, num_crashes, rng = 0, 0, random.Random(1)
    while (passed := time.monotonic() - began) < load.seconds:
        if not load.kills:
            time.sleep(0.05)
            continue
        time.sleep(rng.uniform(0.2, 0.6))
        if crash is not None and not num_crashes and passed > load.seconds / 2:
            crash()
            num_crashes += 1
        victim = rng.randrange(NUM_WRITERS)
        os.kill(int(writers[victim].pid or 0), signal.SIGKILL)
        writers[victim].join()
        writers[victim] = start(victim)
        num_kills += 1
    settled_until = _num_settled(shared, load)
    shared.is_over.value = 1
    for process in writers:
        process.join(timeout=300)
    problems = [f"a writer ended with {each.exitcode}" for each in writers if each.exitcode != 0]
    problems += _problems(load, list(shared.acknowledged))
    return {
        "per_second": (settled_until - settled_before) / passed,
        "settled": _num_settled(shared, load),
        "kills": num_kills,
        "crashes": num_crashes,
        "busy": sum(shared.num_waited_too_long),
        "longest": max(shared.longest_wait_seconds),
        "problems": problems,
    }


def _write(load: Load, writer: int, shared: Shared) -> None:
    """A writer's life: portion after portion, from two before the last that it was told of."""
    told, parent = shared.acknowledged, os.getppid()
    database = _patiently(lambda: Database(load.place), writer, shared)
    ledger = Ledger(DatabaseLedgerStore(database))
    portion = max(told[writer] - 2, 0)
    # Leases that were begun are brought to their end.
    while not (shared.is_over.value and portion % STEPS_PER_LEASE == 0 and portion >= told[writer]):
        if os.getppid() != parent:
            return  # whoever started us was killed
        wanted = _portion(writer, portion, load.leases_at_once)
        began = time.monotonic()
        answers = _patiently(partial(ledger.book_all, wanted), writer, shared)
        waited = time.monotonic() - began
        shared.longest_wait_seconds[writer] = max(shared.longest_wait_seconds[writer], waited)
        if errors := [answer for answer in answers if not isinstance(answer, dict)]:
            raise RuntimeError(f"portion {portion} of writer {writer}: {errors[0]}")
        portion += 1
        told[writer] = max(portion, told[writer])
    database.close()


def _patiently(work: Callable[[], T], writer: int, shared: Shared) -> T:
    while True:
        try:
            return work()
        except BusyDatabaseError:
            shared.num_waited_too_long[writer] += 1
        except LostDatabaseError:
            # The server is being started again; opening a database is not retried as a transaction is.
            time.sleep(0.2)


def _portion(writer: int, portion: int, leases_at_once: int) -> list[Movement]:
    """The same step of some leases."""
    group, step = divmod(portion, STEPS_PER_LEASE)
    leases = [_lease(writer, group * leases_at_once + number) for number in range(leases_at_once)]
    if step == 0:
        return [movements.hold(lease, amount_microcredits=ESCROW) for lease in leases]
    if step == STEPS_PER_LEASE - 2:
        return [movements.release(lease) for lease in leases]
    if step == STEPS_PER_LEASE - 1:
        return [movements.pay_out(lease) for lease in leases]
    return [_note(lease, step).movement() for lease in leases]


def _lease(writer: int, number: int) -> Lease:
    id = f"w{writer}-{number}"
    buyer = f"buyer{(writer + number) % NUM_BUYERS}"
    return Lease(lease_id=id, run=id, member=buyer, site=f"site{writer}", site_member=f"seller{writer}")


def _note(lease: Lease, number: int) -> DebitNote:
    return DebitNote.of_tick(
        lease,
        PRICE,
        number=number,
        unit_seconds_before=(number - 1) * TICK_UNIT_SECONDS,
        unit_seconds=TICK_UNIT_SECONDS,
        verification_share=0.25,
    )


def _problems(load: Load, acknowledged: Sequence[int]) -> list[str]:
    """Compare every account with what the finished leases make it, and check the whole book."""
    database = Database(load.place)
    ledger = Ledger(DatabaseLedgerStore(database))
    found = {account: balance for account, balance in ledger.balances().items() if balance}
    wanted = _expected(load, acknowledged)
    different = [name for name in sorted({*found, *wanted}) if found.get(name, 0) != wanted.get(name, 0)]
    problems = [f"{name} holds {found.get(name, 0)}, not {wanted.get(name, 0)}" for name in different]
    with DatabaseLedgerStore(database).reading() as book:
        num_entries = sum(1 for _ in book.each())
    expected_entries = NUM_BUYERS + sum(acknowledged) * load.leases_at_once
    if num_entries != expected_entries:
        problems.append(f"{num_entries} entries, not {expected_entries}")
    problems += ledger.check()
    database.close()
    return problems


def _expected(load: Load, acknowledged: Sequence[int]) -> dict[str, int]:
    notes = [_note(_lease(0, 0), number + 1) for number in range(NUM_TICKS)]
    seller = sum(note.seller_microcredits for note in notes)
    cost = sum(note.cost_microcredits for note in notes)
    num_leases = [each // STEPS_PER_LEASE * load.leases_at_once for each in acknowledged]
    wanted = {available(f"buyer{buyer}"): GRANT for buyer in range(NUM_BUYERS)}
    for writer, number in enumerate(num_leases):
        wanted[available(f"seller{writer}")] = number * seller
        for lease in range(number):
            wanted[available(f"buyer{(writer + lease) % NUM_BUYERS}")] -= cost
    every = sum(num_leases)
    wanted[GRANTS] = -NUM_BUYERS * GRANT
    wanted[CLIMATE_FUND] = every * sum(note.climate_microcredits for note in notes)
    wanted[VERIFICATION_FUND] = every * sum(note.verification_microcredits for note in notes)
    wanted[SURPLUS] = every * sum(note.surplus_microcredits for note in notes)
    return {account: balance for account, balance in wanted.items() if balance}


def _num_settled(shared: Shared, load: Load) -> int:
    return int(sum(shared.acknowledged)) * load.leases_at_once


def _wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"some writer had not written anything after {seconds:g} s")
        time.sleep(0.02)


BENCHMARK = Benchmark(
    name="ledger_writers",
    topic="market: ledger",
    bar="64 concurrent writers killed at random, PostgreSQL and SQLite: every account exact to the "
    "micro-credit, nothing settled twice, whole book checked; at least 1,000 settled transactions a second "
    "on PostgreSQL",
    seconds_quick=60,
    seconds_full=300,
    measure=measure,
)
