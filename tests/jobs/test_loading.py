"""From a file and overrides to a job, or to a list of everything that is wrong."""

import json
from pathlib import Path

import pytest

from ayni.errors import UserError
from ayni.jobs.loading import Job, OverrideError, load_job
from ayni.jobs.problems import BadJobError

MINIMAL = "name: digits\ntask: task:Digits\n"
TRAIN_KEYS = (
    "strategy, learners, quorum, grace_seconds, rounds, local_steps, round_seconds, batch_size, device, "
    "learning_rate, weight_decay, schedule, warmup_steps, gradient_clip, outer_learning_rate, "
    "outer_momentum, codec, download_codec, error_feedback, topk_fraction, merge, aggregation, streaming, "
    "asynchronous, adapter, privacy, init_from, engine, tls, round_deadline_seconds, max_attempts, "
    "checkpoint_every"
)
JOB_KEYS = (
    "name, task, seed, member, metric, model, data, train, compress, audit, explain, limits, site, bid, "
    "publish"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task, in which messages show short paths."""
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, *overrides: str) -> Job:
    Path("job.yaml").write_text(text)
    return load_job("job.yaml", overrides)


def test_a_minimal_job_has_defaults(folder: Path) -> None:
    job = load(MINIMAL)

    assert job.spec.train.rounds == 12
    assert job.spec.explain.samples == 8
    assert job.spec.compress is None
    assert job.task.module_path == folder / "task.py"
    assert job.task_sha256 == job.task.sha256


@pytest.mark.usefixtures("folder")
def test_a_full_job_is_read() -> None:
    job = load(
        MINIMAL + "seed: 7\n"
        "train: {strategy: sync, learners: 2, rounds: 12, local_steps: 40, batch_size: 64}\n"
        "compress:\n"
        "  max_accuracy_drop: 0.01\n"
        "  steps: [{prune: {channels: 0.5}}, {distill: {temperature: 4, epochs: 3}}, {quantize: {bits: 8}}]\n"
        "  score: {accuracy: 1.0, stored_bytes: -0.2}\n"
        "limits: {credits: 5, energy_kwh: 0.05, carbon_grams: 20, deadline: 2h}\n"
        "site: {zone: DE, pue: 1.2}\n"
        "publish: {repository: me/digits, licence: cc-by-sa-4.0}\n"
    )

    assert job.spec.train.strategy == "sync"
    assert job.spec.compress is not None
    assert [type(entry.step).__name__ for entry in job.spec.compress.steps] == [
        "PruneStep",
        "DistillStep",
        "QuantizeStep",
    ]
    assert job.spec.limits.deadline_seconds == 7200
    assert job.spec.site.zone == "DE"


@pytest.mark.usefixtures("folder")
def test_a_frozen_job_is_the_same_when_read_again() -> None:
    job = load(MINIMAL + "compress: {steps: [{quantize: {mode: dynamic}}]}\nlimits: {deadline: 90}\n")

    frozen = json.loads(json.dumps(job.to_json()))

    assert Job.from_json(frozen) == job
    assert frozen["task"] == "task:Digits"


@pytest.mark.usefixtures("folder")
def test_a_frozen_job_keeps_its_nested_options_and_lists() -> None:
    job = load(
        MINIMAL + "train:\n"
        "  learners: 5\n"
        "  aggregation: {rule: krum, num_faulty: 1}\n"
        "  adapter: {targets: [q_proj, v_proj]}\n"
        "  engine: tls://host:8786\n"
        "  tls: {ca_file: ca.pem, certificate_file: me.pem, key_file: me.key}\n"
    )

    frozen = json.loads(json.dumps(job.to_json()))

    assert Job.from_json(frozen) == job
    assert job.spec.train.adapter is not None
    assert job.spec.train.adapter.targets == ("q_proj", "v_proj")
    assert job.spec.train.aggregation.rule == "krum"


@pytest.mark.usefixtures("folder")
def test_an_override_reaches_into_options_that_the_file_leaves_out() -> None:
    overrides = (
        "train.learners=5",
        "train.aggregation={rule: median, num_faulty: 1}",
        "train.adapter.rank=4",
    )

    train = load(MINIMAL, *overrides).spec.train

    assert (train.aggregation.rule, train.aggregation.num_faulty) == ("median", 1)
    assert train.adapter is not None and train.adapter.rank == 4


@pytest.mark.usefixtures("folder")
def test_norway_is_a_zone_and_not_false() -> None:
    assert load(MINIMAL + "site: {zone: NO}\n").spec.site.zone == "NO"


GOLDEN = {
    "train:\n  rouns: 3\n": (
        f"job.yaml, line 4: the key `train.rouns` is unknown. Did you mean `rounds`? "
        f"`train` has {TRAIN_KEYS}."
    ),
    "rounds: 3\n": (
        f"job.yaml, line 3: the key `rounds` is unknown. Did you mean `train.rounds`? A job has {JOB_KEYS}."
    ),
    "frobnicate: 3\n": f"job.yaml, line 3: the key `frobnicate` is unknown. A job has {JOB_KEYS}.",
    "limits: {Credits: 3}\n": (
        "job.yaml, line 3: the key `limits.Credits` is unknown. Did you mean `credits`? "
        "`limits` has credits, energy_kwh, carbon_grams, deadline."
    ),
    "train: {rounds: many}\n": (
        "job.yaml, line 3: `train.rounds` is the text 'many', allowed is a whole number."
    ),
    "train: {rounds: 2.5}\n": "job.yaml, line 3: `train.rounds` is 2.5, allowed is a whole number.",
    "train: {rounds: '12'}\n": (
        "job.yaml, line 3: `train.rounds` is the text '12', allowed is a whole number."
    ),
    "train: {rounds: true}\n": (
        "job.yaml, line 3: `train.rounds` is true (true or false), allowed is a whole number."
    ),
    "train: {strategy: dilocco}\n": (
        "job.yaml, line 3: `train.strategy` is the text 'dilocco', allowed is diloco, sync, streaming "
        "or async. Did you mean diloco?"
    ),
    "train:\n  learners: 2\n  rounds: -3\n": "job.yaml, line 5: `train.rounds` must be at least 1, not -3.",
    "train:\n  async: {method: plain}\n": (
        "job.yaml, line 4: the key `train.async` is unknown. Did you mean `asynchronous`? "
        f"`train` has {TRAIN_KEYS}."
    ),
    "train:\n  aggregation:\n    rule: medain\n": (
        "job.yaml, line 5: `train.aggregation.rule` is the text 'medain', allowed is mean, trimmed_mean, "
        "median, krum, multi_krum, bulyan, geometric_median or centered_clip. Did you mean median?"
    ),
    "train: {clip_factor: 2}\n": (
        "job.yaml, line 3: the key `train.clip_factor` is unknown. Did you mean "
        f"`train.aggregation.clip_factor`? `train` has {TRAIN_KEYS}."
    ),
    "train:\n  adapter: {targets: q_proj}\n": (
        "job.yaml, line 4: `train.adapter.targets` is the text 'q_proj', allowed is a list, each a text."
    ),
    "train:\n  adapter:\n    targets: [q_proj, 3]\n": (
        "job.yaml, line 5: `train.adapter.targets.1` is 3, allowed is a text."
    ),
    "train:\n  aggregation:\n": (
        "job.yaml, line 4: `train.aggregation` is nothing (null), allowed is a mapping with the keys rule, "
        "num_faulty, clip_factor, bucket_size."
    ),
    "train: {tls: {ca_file: ca.pem, key_file: key.pem}}\n": (
        "job.yaml, line 3: the key `train.tls.certificate_file` is missing. It is a text."
    ),
    "train:\n  learners: 4\n  aggregation:\n    num_faulty: 1\n    rule: krum\n": (
        "job.yaml, line 7: `train.aggregation.rule` krum withstands 1 wrong learners only among 5 or more, "
        "and there are 4: raise learners, or lower num_faulty."
    ),
    "train:\n  local_steps: 4\n  strategy: streaming\n  streaming:\n    overlap_steps: 5\n": (
        "job.yaml, line 7: `train.streaming.overlap_steps` (5) must be less than local_steps (4): a part "
        "comes back before the next one leaves."
    ),
    "train:\n  local_steps: 1\n  strategy: streaming\n": (
        "job.yaml, line 4: `train.streaming.overlap_steps` (1) must be less than local_steps (1): a part "
        "comes back before the next one leaves."
    ),
    "train:\n  quorum: 9\n": ("job.yaml, line 4: `train.quorum` must be from 1 to the 2 learners, not 9."),
    "train:\n": (
        f"job.yaml, line 3: `train` is nothing (null), allowed is a mapping with the keys {TRAIN_KEYS}."
    ),
    "limits: [1]\n": (
        "job.yaml, line 3: `limits` is a list of 1, allowed is a mapping with the keys "
        "credits, energy_kwh, carbon_grams, deadline."
    ),
    "limits: {credits: -5}\n": (
        "job.yaml, line 3: `limits.credits` is -5, allowed is a number, at least 0, or null."
    ),
    "limits: {deadline: true}\n": (
        "job.yaml, line 3: `limits.deadline` is true (true or false), allowed is a time such as 90s, 45m, "
        "2h or 1h30m, or a number of seconds, or null."
    ),
    "seed: -1\n": (
        "job.yaml, line 3: `seed` is -1, allowed is a whole number, at least 0 and at most 4294967295."
    ),
    "site: {pue: 0.5}\n": (
        "job.yaml, line 3: `site.pue` is 0.5, allowed is a number, at least 1.0 and at most 10.0."
    ),
    "metric: {better: lowest}\n": (
        "job.yaml, line 3: `metric.better` is the text 'lowest', allowed is higher or lower. "
        "Did you mean lower?"
    ),
    "compress:\n  steps: [{prun: {channels: 0.5}}]\n": (
        "job.yaml, line 4: the key `compress.steps.0.prun` is unknown. Did you mean `prune`? "
        "`compress.steps.0` has prune, factorize, fold, recover, distill, quantize, share, half."
    ),
    "compress:\n  steps:\n  - prune: {channel: 0.2}\n": (
        "job.yaml, line 5: the key `compress.steps.0.prune.channel` is unknown. Did you mean `channels`? "
        "`compress.steps.0.prune` has channels, heads, weights, pattern, threshold, method, across_layers."
    ),
    "compress: {steps: prune}\n": (
        "job.yaml, line 3: `compress.steps` is the text 'prune', allowed is a list, "
        "each as in `- prune: {channels: 0.5}`."
    ),
    "compress: {steps: [prune]}\n": (
        "job.yaml, line 3: `compress.steps.0` is the text 'prune', allowed is a mapping with the keys "
        "prune, factorize, fold, recover, distill, quantize, share, half."
    ),
    "compress: {score: {accuracy: high}}\n": (
        "job.yaml, line 3: `compress.score.accuracy` is the text 'high', allowed is a number."
    ),
    "publish: {licence: mit}\n": (
        "job.yaml, line 3: the key `publish.repository` is missing. It is owner/name, for example me/digits."
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("text", GOLDEN)
def test_a_wrong_key_or_value_is_explained(text: str) -> None:
    with pytest.raises(BadJobError) as caught:
        load(MINIMAL + text)

    assert str(caught.value) == GOLDEN[text]


# These texts are written by the package that owns the check; here only the place and the subject count.
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "place", "subject"),
    [
        ("compress:\n  steps:\n  - prune:\n      channels: 2\n", "line 6", "prune.channels"),
        ("compress:\n  steps: []\n", "line 4", "steps"),
        ("compress:\n  max_accuracy_drop: -1\n", "line 4", "max_accuracy_drop"),
        ("compress:\n  steps:\n  - quantize: {bits: 5}\n", "line 5", "bits"),
        ("publish:\n  licence: mit\n  repository: digits\n", "line 5", "publish.repository"),
        ("publish:\n  repository: me/x\n  licence: mitt\n", "line 5", "mit?"),
        ("site:\n  zone: Atlantis\n", "line 4", "site.zone"),
        ("limits:\n  deadline: 2 fortnights\n", "line 4", "limits.deadline"),
        ("train:\n  rounds: 1\n  learning_rate: 0\n", "line 5", "train.learning_rate"),
        ("train:\n  aggregation:\n    clip_factor: 0.5\n", "line 5", "`train.aggregation.clip_factor`"),
        ("train:\n  adapter:\n    alpha: 0\n", "line 5", "`train.adapter.alpha`"),
        ("train:\n  engine: tls://host:8786\n", "line 4", "`train.engine`"),
        ("train:\n  rounds: 1\n  merge: rda\n  strategy: sync\n", "line 5", "`train.merge`"),
    ],
)
def test_a_value_that_its_owner_refuses_is_found_in_its_line(text: str, place: str, subject: str) -> None:
    with pytest.raises(BadJobError) as caught:
        load(MINIMAL + text)

    assert str(caught.value).startswith(f"job.yaml, {place}: ")
    assert subject in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    with pytest.raises(BadJobError) as caught:
        load("name: d\nseed: x\nlimits: {credits: a}\nnonsense: 1\n")

    assert str(caught.value) == (
        "job.yaml has 4 problems:\n"
        "  the key `task` is missing. It is module:object, for example task:Digits for Digits in task.py.\n"
        "  line 2: `seed` is the text 'x', allowed is a whole number, at least 0 and at most 4294967295.\n"
        "  line 3: `limits.credits` is the text 'a', allowed is a number, at least 0, or null.\n"
        f"  line 4: the key `nonsense` is unknown. A job has {JOB_KEYS}."
    )
    assert [problem.place for problem in caught.value.problems] == ["", "line 2", "line 3", "line 4"]


@pytest.mark.parametrize("name", ["my job", "", "-x", "a/b", "x" * 65])
@pytest.mark.usefixtures("folder")
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(BadJobError, match=r"`name` is the text .*allowed is 1 to 64 letters"):
        load(f"name: '{name}'\ntask: task:Digits\n")


@pytest.mark.parametrize("task", ["Digits", "task.py:Digits:x", "../task:Digits", ":x", "task:"])
@pytest.mark.usefixtures("folder")
def test_a_task_that_is_not_module_and_object_is_refused(task: str) -> None:
    with pytest.raises(BadJobError, match=r"line 2: `task` is the text .*allowed is module:object"):
        load(f"name: d\ntask: '{task}'\n")


def test_a_task_without_file_is_refused_with_the_path_that_was_tried(folder: Path) -> None:
    with pytest.raises(BadJobError) as caught:
        load("name: d\ntask: tusk:Digits\n")

    assert str(caught.value) == (
        f"job.yaml, line 2: `task` is tusk:Digits, but there is no file {folder / 'tusk.py'}."
    )


@pytest.mark.usefixtures("folder")
def test_an_override_replaces_and_adds() -> None:
    job = load(MINIMAL + "train: {rounds: 3}\n", "train.rounds=5", "site.zone=DE", "seed=9")

    assert job.spec.train.rounds == 5
    assert job.spec.site.zone == "DE"
    assert job.spec.seed == 9


@pytest.mark.usefixtures("folder")
def test_the_last_override_of_a_key_wins() -> None:
    assert load(MINIMAL, "seed=1", "seed=2").spec.seed == 2


@pytest.mark.usefixtures("folder")
def test_an_override_reaches_into_lists_and_removes_sections() -> None:
    text = MINIMAL + "compress: {steps: [{prune: {channels: 0.5}}]}\n"

    job = load(text, "compress.steps.0.prune.channels=0.25")

    assert job.spec.compress is not None
    assert job.spec.compress.steps[0].prune is not None
    assert job.spec.compress.steps[0].prune.channels == 0.25
    assert load(text, "compress=null").spec.compress is None


OVERRIDES = {
    "train.rouns=5": (
        "job.yaml, --set train.rouns=5: the key `train.rouns` is unknown. Did you mean `rounds`? "
        f"`train` has {TRAIN_KEYS}."
    ),
    "train.rounds=many": (
        "job.yaml, --set train.rounds=many: `train.rounds` is the text 'many', allowed is a whole number."
    ),
    "train={rounds: -1}": "job.yaml, --set train={rounds: -1}: `train.rounds` must be at least 1, not -1.",
    "train.rounds": (
        "--set train.rounds: there is no `=` in it. Write it as key=value, for example --set train.rounds=5."
    ),
    "=3": "--set =3: '' is not a key. Write it as key=value, for example --set train.rounds=5.",
    "train..rounds=3": (
        "--set train..rounds=3: 'train..rounds' is not a key. Write it as key=value, for example "
        "--set train.rounds=5."
    ),
    "name.x=3": (
        "--set name.x=3: `name` is the text 'digits', which has no keys. Write it as key=value, for example "
        "--set train.rounds=5."
    ),
    "train.rounds=[1": (
        "--set train.rounds=[1: a quote or bracket that is opened here is never closed: '[1'. "
        "Write it as key=value, for example --set train.rounds=5."
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("override", OVERRIDES)
def test_a_bad_override_is_named(override: str) -> None:
    with pytest.raises(UserError) as caught:
        load(MINIMAL, override)

    assert str(caught.value) == OVERRIDES[override]


@pytest.mark.usefixtures("folder")
def test_an_override_beyond_the_end_of_a_list_is_refused() -> None:
    with pytest.raises(OverrideError, match=r"`compress.steps` is a list of 1, '1' is no position in it"):
        load(MINIMAL + "compress: {steps: [{prune: {}}]}\n", "compress.steps.1.prune.channels=0.5")
