"""Does the audit of generated data judge its controls rightly? Copies must fail, unseen records must pass.

20 runs. Each draws 1,000 members, 1,000 non-members and 1,000 unseen records from MNIST's 5,000 images and
audits two "generators": the members with 2 % noise, and the unseen records. The verdict is by the bounds of
intervals; an audit that is void counts as wrong on both sides.

Not covered: leaks between the two, for which partner_sharing has generators that learnt.
"""

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.controls import noisy_copies
from ayni.data.audit.generator_audit import GeneratorAudit, audit_generated
from ayni.data.records import Records, records_of
from benchmarks.registry import Benchmark, Outcome
from benchmarks.small_cnn import SmallCnnDigits

NUM_RECORDS = 1000
NUM_RUNS = 20
NUM_RUNS_QUICK = 4
# One in twenty unseen sets may be taken for a leak.
MOST_FALSE_ALARMS = 0.05


def all_images() -> Records:
    """The 5,000 images of all three splits."""
    task = SmallCnnDigits()
    train, validation, test = (records_of(task.dataset(split)) for split in ("train", "validation", "test"))
    return train.joined(validation).joined(test)


def audits(records: Records, *, seed: int) -> tuple[GeneratorAudit, GeneratorAudit]:
    """The audits of noisy copies and of unseen records."""
    order: NDArray[np.intp] = np.random.default_rng(seed).permutation(len(records))
    members, non_members, unseen = (
        records.subset(order[first : first + NUM_RECORDS]) for first in range(0, 3 * NUM_RECORDS, NUM_RECORDS)
    )
    copies = noisy_copies(members, seed=100 + seed)
    return (
        audit_generated(copies, members, non_members, seed=seed),
        audit_generated(unseen, members, non_members, seed=seed),
    )


def measure(quick: bool) -> Outcome:
    """Verdicts of all runs, and the numbers that they rest on."""
    seeds = tuple(range(NUM_RUNS_QUICK if quick else NUM_RUNS))
    records = all_images()
    found = [audits(records, seed=seed) for seed in seeds]
    failed = sum(copies.verdict.kind == "fail" for copies, _ in found)
    passed = sum(unseen.verdict.kind == "pass" for _, unseen in found)
    values = {
        "num_runs": len(seeds),
        "copies_failed": failed,
        "unseen_passed": passed,
        "verdicts_on_unseen": [unseen.verdict.kind for _, unseen in found],
        "auc_of_copies_least": min(copies.attack.auc.value for copies, _ in found),
        "auc_of_unseen_median": float(np.median([unseen.attack.auc.value for _, unseen in found])),
        "auc_of_unseen_most": max(unseen.attack.auc.value for _, unseen in found),
        "near_copies_of_unseen_most": max(unseen.near_copies.value for _, unseen in found),
    }
    met = failed == len(seeds) and passed >= len(seeds) * (1 - MOST_FALSE_ALARMS)
    return Outcome(values=values, seeds=seeds, met=met)


BENCHMARK = Benchmark(
    name="audit_controls",
    topic="Leak audit",
    bar="of 20 runs with 1,000 records a side: copies with 2 % noise fail in all, unseen records pass in 19",
    seconds_quick=20,
    seconds_full=60,
    measure=measure,
)
