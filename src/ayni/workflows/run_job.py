"""The platform's story on one screen: a job becomes a model that others can use, and a bill that adds up.

    job.yaml - plan -> approve, hold credits - train - compress - audit - explain - publish - settle - report

Every step is done once, however often the run is interrupted; every step is metered and receipted
(`steps.py`). Read the files beside this one for what each step does.

Not covered: several jobs at once, and machines of others.
"""

from ayni.compress.variants import CompressResult
from ayni.hub.repositories import Published
from ayni.jobs.runs import Run
from ayni.market.planning import Plan
from ayni.market.settlement import Settlement
from ayni.train.result import TrainResult
from ayni.workflows import (
    adopt_model,
    audit_model,
    compress_model,
    explain_model,
    plan_job,
    publish_model,
    report_run,
    settle_job,
    train_model,
)
from ayni.workflows.house import House
from ayni.workflows.limits import LimitGuard
from ayni.workflows.offer import limits_of, offer_of, reserved_cores
from ayni.workflows.progress import Approve, Progress
from ayni.workflows.seal_run import is_sealed, seal_run
from ayni.workflows.site_conditions import conditions_of_run, keep_site_files
from ayni.workflows.steps import Steps


def run_job(run: Run, house: House, *, progress: Progress, approve: Approve | None, yes: bool) -> None:
    """Do all steps of a run that are not finished yet. The caller holds the run's lock.

    `yes` goes beyond the job's limits without asking.

    Raises:
        BudgetTooSmallError: the plan exceeds a limit and nobody agreed.
        LimitReachedError: a limit was used up on the way.
    """
    if is_sealed(run):
        # Killed between the seal and the status: a meter that starts now would break the seal.
        return
    spec = run.job.spec
    keep_site_files(run)
    with house.make_meter(run) as meter:
        steps = Steps(run=run, house=house, meter=meter, progress=progress)

        plan = steps.do("plan", Plan, lambda: plan_job.plan_job(run.job, house), text=plan_job.text_of)
        goes_beyond = plan_job.approve_plan(run, plan, yes=yes, approve=approve)
        held = settle_job.hold_credits(run, house, plan, goes_beyond=goes_beyond)
        guard = _guard(run, house, is_lifted=goes_beyond)

        if spec.model is None:
            trained = steps.do(
                "train",
                TrainResult,
                lambda: train_model.train_model(run, house, progress=progress, guard=guard),
                text=train_model.text_of,
                total=spec.train.rounds,
            )
        else:
            trained = steps.do(
                "train", TrainResult, lambda: adopt_model.adopt_model(run, house), text=adopt_model.text_of
            )
        compressed = None
        if spec.compress is None:
            steps.skip("compress", reason="the job asks for no variants")
        else:
            compressed = steps.do(
                "compress",
                CompressResult,
                lambda: compress_model.compress_model(
                    run, house, trained, meter=meter, progress=progress, guard=guard
                ),
                text=compress_model.text_of,
                total=1.0,
            )
        guard.check()
        audited = None
        if spec.audit is None:
            steps.skip("audit", reason="the job asks for no audit")
        else:
            audited = steps.do(
                "audit",
                audit_model.AuditFound,
                lambda: audit_model.audit_run(run, house, trained, progress=progress, guard=guard),
                text=audit_model.text_of,
                total=spec.audit.shadow_models,
            )
        explained = steps.do(
            "explain",
            explain_model.Understanding,
            lambda: explain_model.explain_model(run, house, trained, compressed, progress=progress),
            text=explain_model.text_of,
            total=None if spec.explain.corruptions is None else 1.0,
        )
        if spec.publish is None:
            steps.skip("publish", reason="the job names no repository")
        else:
            guard.check()
            audit_model.refuse_what_leaks(spec, audited)
            steps.do(
                "publish",
                Published,
                lambda: publish_model.publish_model(
                    run, house, trained, compressed, explained, audited=audited
                ),
                text=publish_model.text_of,
            )
        steps.do(
            "settle",
            Settlement,
            lambda: settle_job.settle_job(run, house, held_microcredits=held),
            text=settle_job.text_of,
        )
        steps.do("report", report_run.Report, lambda: report_run.report_run(run), text=lambda it: it.path)
    seal_run(run, house.key)


def _guard(run: Run, house: House, *, is_lifted: bool) -> LimitGuard:
    spec = run.job.spec
    return LimitGuard(
        run=run.id,
        windows_path=run.folder / "meter" / "windows.jsonl",
        limits=limits_of(spec),
        offer=offer_of(spec, house),
        reserved_cores=reserved_cores(spec, num_cores=house.num_cores),
        intensity=conditions_of_run(run, house).intensity_between(house.now(), house.now()),
        is_lifted=is_lifted,
    )
