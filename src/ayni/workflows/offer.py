"""This machine as an offer, and the job's limits, as the market sees them."""

from ayni.jobs.spec import JobSpec
from ayni.market.offers import Limits
from ayni.market.own_machine import OwnMachine, own_machine_offer
from ayni.workflows.house import House


def offer_of(spec: JobSpec, house: House) -> OwnMachine:
    """This machine at the cost that its owner declares in the job."""
    site = spec.site
    return own_machine_offer(
        site=site.name,
        member=spec.member,
        num_cores=house.num_cores,
        memory_bytes=house.memory_bytes,
        zone=site.zone,
        pue=site.pue,
        ask_credits_per_core_hour=site.ask_credits_per_core_hour,
        electricity_credits_per_kwh=site.electricity_credits_per_kwh,
    )


def limits_of(spec: JobSpec) -> Limits:
    """The job's limits."""
    limits = spec.limits
    return Limits(
        credits=limits.credits,
        energy_kwh=limits.energy_kwh,
        carbon_grams=limits.carbon_grams,
        deadline_seconds=limits.deadline_seconds,
    )


def reserved_cores(spec: JobSpec, *, num_cores: int) -> int:
    """The cores that a run keeps from others: one for each learner, as far as there are any."""
    return min(spec.train.learners, num_cores)
