"""Settle a run: hold credits before the work, pay what the receipts say after it, give back the rest."""

from ayni.files import write_json
from ayni.jobs.runs import Run
from ayni.market.ledger import Lease
from ayni.market.planning import Plan
from ayni.market.policy import CreditPolicy
from ayni.market.settlement import Settlement, make_settlement, open_lease, settle
from ayni.units import credits_to_microcredits, microcredits_to_credits
from ayni.workflows.house import House
from ayni.workflows.receipts import receipts_of

LEDGER_FILE = "ledger.json"
# A plan may be wrong by far, and what the escrow cannot pay is lost to the site.
HELD_TIMES_PLAN = 10
# Settling and reporting come after the bill; their receipts are kept and not charged.
CHARGED_STEPS = ("plan", "train", "compress", "audit", "explain", "publish")


def lease_of(run: Run) -> Lease:
    """The capacity of the owner's own site for this run."""
    spec = run.job.spec
    return Lease(
        lease_id=run.id, run=run.id, member=spec.member, site=spec.site.name, site_member=spec.member
    )


def hold_credits(run: Run, house: House, plan: Plan, *, goes_beyond: bool) -> int:
    """Set credits aside before work begins; a new member gets its declared grant first.

    Returns the amount held, in micro-credits: the job's limit; more where the owner agreed to go beyond it;
    without a limit a multiple of what the plan may need at most, for a plan is an estimate.

    Raises:
        InsufficientCreditsError: the member has less than the plan expects.
    """
    policy = CreditPolicy()
    house.ledger.grant_once(
        run.job.spec.member,
        amount_microcredits=policy.new_member_grant_microcredits,
        policy="new-member",
    )
    needed, at_most = int(plan.total("cost_microcredits")), int(plan.total("high_cost_microcredits"))
    budget = 0 if plan.limits.credits is None else credits_to_microcredits(plan.limits.credits)
    if plan.limits.credits is None or goes_beyond:
        budget = max(budget, HELD_TIMES_PLAN * at_most)
    return open_lease(house.ledger, lease_of(run), budget_microcredits=budget, needed_microcredits=needed)


def settle_job(run: Run, house: House, *, held_microcredits: int) -> Settlement:
    """Draw for each receipt, refund the rest, and write the run's transactions beside its receipts."""
    receipts = [receipt for receipt in receipts_of(run) if receipt["step"] in CHARGED_STEPS]
    settlement = make_settlement(
        receipts, lease=lease_of(run), held_microcredits=held_microcredits, policy=CreditPolicy()
    )
    transactions = settle(house.ledger, settlement)
    write_json(run.folder / LEDGER_FILE, transactions)
    house.database.backup()
    return settlement


def abandon_job(run: Run, house: House) -> None:
    """Pay for what an unfinished run did, and give back the rest of what was set aside for it."""
    held = house.ledger.held(lease_of(run))
    if held is not None and run.result("settle") is None:
        settle_job(run, house, held_microcredits=held)


def text_of(settlement: Settlement) -> str:
    """The result in a few words."""
    paid = microcredits_to_credits(settlement.paid_microcredits)
    money = settlement.policy.money(settlement.paid_microcredits)
    return (
        f"{paid:.6f} credits ({money:.6f} {settlement.policy.currency}), {len(settlement.charges)} receipts"
    )
