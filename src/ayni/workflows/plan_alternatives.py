"""The market's look at a job that runs here and now: what waiting or another place would have given.

This machine enters as an offer of its owner at what the plan says it costs, beside all open offers of the
pool. They can be compared only where `site.throughput` says how this machine's hours stand to a V100's.

Not covered: forecasts of the day; carbon by the hour comes from the shipped tables.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ayni.jobs.spec import JobSpec
from ayni.market.alternatives import Alternative, Considered, alternatives_to, incomparable
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import LARGEST_ASK, Offer
from ayni.market.planning import Plan
from ayni.market.pool_store import PoolStore
from ayni.workflows.pool_carbon import pool_carbon
from ayni.workflows.submit_job import SECONDS_PER_HOUR, bid_of

THIS_MACHINE = "this machine"
MOST_SLOTS = 48
UNKNOWN_THROUGHPUT = "how this machine compares with it is not known: say it as site.throughput in the job"


def with_alternatives(plan: Plan, spec: JobSpec, store: PoolStore) -> Plan:
    """The plan with what else there would have been."""
    now = plan.rows[0].start
    offers = [each.offer for each in store.offers() if each.state(now=now) == "open"]
    return replace(plan, alternatives=alternatives_of(plan, spec, offers, now=now))


def alternatives_of(
    plan: Plan, spec: JobSpec, offers: Sequence[Offer], *, now: datetime
) -> tuple[Alternative, ...]:
    """Later hours on this machine, and places of the offers, that were not taken."""
    is_comparable = spec.site.throughput is not None
    others = offers if is_comparable else ()
    hours = (plan.rows[-1].end - plan.rows[0].start).total_seconds() / SECONDS_PER_HOUR
    work = hours * (spec.site.throughput or 1.0)
    bid = bid_of(spec, id=spec.name, work_reference_hours=work, worth_credits=0.0, now=now)
    wait_hours = (bid.deadline - now).total_seconds() / SECONDS_PER_HOUR
    horizon = Horizon(
        start=now,
        num_slots=min(MOST_SLOTS, math.ceil(wait_hours)),
        tail_seconds=math.ceil(2 * hours * SECONDS_PER_HOUR) + 7 * 86_400,
    )
    own = _own_offer(plan, spec, hours=hours, horizon=horizon)
    carbon = pool_carbon([own.zone, *(offer.zone for offer in others)], horizon=horizon).forecast
    considered = Considered(bid=bid, own=own, others=others, horizon=horizon, carbon=carbon)
    found = alternatives_to(considered)
    return found if is_comparable else (*found, *incomparable(offers, reason=UNKNOWN_THROUGHPUT))


def _own_offer(plan: Plan, spec: JobSpec, *, hours: float, horizon: Horizon) -> Offer:
    """This machine at the plan's cost an hour, electricity included; without power where that is unknown."""
    joules = plan.known_total("energy_joules")
    ask = round(plan.total("cost_microcredits") / hours)
    return Offer(
        id=THIS_MACHINE,
        site=spec.site.name,
        member=spec.member,
        machine_class=MachineClass(
            name=THIS_MACHINE,
            cores=plan.offer.num_cores,
            memory_bytes=plan.offer.memory_bytes,
            accelerator=None,
            watts=0.0 if joules is None else joules / (hours * SECONDS_PER_HOUR),
            reference_throughput={spec.bid.kind: spec.site.throughput or 1.0},
        ),
        count=1,
        windows=((horizon.start, horizon.moment(horizon.num_slots + horizon.tail_seconds // 3600 + 1)),),
        ask_microcredits_per_machine_hour=min(ask, LARGEST_ASK),
        zone=spec.site.zone,
        pue=spec.site.pue,
    )
