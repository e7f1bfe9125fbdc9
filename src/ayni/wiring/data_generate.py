"""What `ayni data generate` does, and finding a published generator from Python."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import UserError
from ayni.settings import read_settings
from ayni.wiring.extras import require
from ayni.wiring.installation import Installation
from ayni.workflows.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ayni.data.generation.generator import Generator
    from ayni.data.generation.generator_settings import Kind
    from ayni.data.records import Records
    from ayni.train.result import RoundProgress
    from ayni.workflows.generate_data import Real

_MODULES = ("numpy", "scipy", "sklearn", "PIL", "torch", "safetensors")
# Where to learn: this process, so that small things start at once.
HERE = "here"


class GenerateArgumentsError(UserError):
    """Options of `ayni data generate` that do not go together, or a source that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """What is asked for; the command line's options.

    Attributes:
        source: an .npz file, `path/to/task.py:Object`, a run, or a published generator `owner/name`, also
            with `@revision`.
        kind: of the generator to be learned; None takes flow, and what a published one is.
        per_class: examples to make of each class.
        output: folder for generator, examples, sheet and card.
        seed: of learning and of sampling.
        steps, learners, engine: of the training of a neural kind.
        shrinkage: of a Gaussian.
        category_columns: columns of a table whose numbers only name something.
        unseen: .npz of records that are not learned from, for the leak audit.
        of, licence: what the records are and their licence, for the card; a task states its own.
        publish: repository for the result; None publishes nothing.
        samples_only: publish no generator.
        publish_anyway: after a failed audit too.
    """

    source: str
    kind: "Kind | None" = None
    per_class: int = 100
    output: Path = field(default_factory=lambda: Path("synthetic"))
    seed: int = 0
    steps: int = 1500
    learners: int = 1
    engine: str = HERE
    shrinkage: float | None = None
    category_columns: tuple[int, ...] = ()
    unseen: Path | None = None
    of: str | None = None
    licence: str | None = None
    publish: str | None = None
    samples_only: bool = False
    publish_anyway: bool = False


def generate(
    request: GenerateRequest, *, home: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Make synthetic examples and write them; keys of the answer: `Made.to_json`.

    Raises:
        GenerateArgumentsError: the source or the options make no sense.
        RecordsError: the records cannot be learned from.
        AuditForbidsPublishingError: they were to be published, and the audit failed.
    """
    require(_MODULES, extra="data")
    progress = progress or SilentProgress()
    installation = Installation(read_settings(home=home))
    from ayni.workflows import generate_data

    if _is_published(request.source):
        generator = _found(request, installation, progress)
        real = None
    else:
        real = _real(request, installation, progress)
        generator = _learned(request, real, installation, progress)
    progress.started("sample", total=None)
    samples = generator.sample(num_per_class=request.per_class, seed=request.seed)
    progress.finished("sample", text=f"{len(samples)} examples")
    if real is not None and real.unseen is not None:
        progress.started("audit", total=None)
        generator = generate_data.audit_samples(generator, samples, real, seed=request.seed)
        assert generator.card.audit is not None
        progress.finished("audit", text=generator.card.audit["verdict"]["kind"])
    made = generate_data.write_made(generator, samples, request.output)
    if request.publish is not None:
        progress.started("publish", total=None)
        house = installation.house
        made = generate_data.publish_made(
            made,
            house.hub,
            request.publish,
            node=house.node,
            when=house.now(),
            samples_only=request.samples_only,
            anyway=request.publish_anyway,
        )
        assert made.published is not None
        progress.finished("publish", text=f"{request.publish} at {made.published.revision[:12]}")
    return made.to_json()


def find_generator(reference: str, *, home: Path | None = None) -> "Generator":
    """A published generator by `owner/name` or `owner/name@revision`, ready to sample. None of its code runs.

    Raises:
        RepositoryNotFoundError, RevisionNotFoundError: there is none.
        DamagedFileError, DamagedGeneratorError: it cannot be used.
    """
    require(_MODULES, extra="data")
    from ayni.workflows.generate_data import find_generator as find

    return find(Installation(read_settings(home=home)).house.hub, reference)[0]


def _is_published(source: str) -> bool:
    return "/" in source and ":" not in source and not Path(source.partition("@")[0]).exists()


def _found(request: GenerateRequest, installation: Installation, progress: Progress) -> "Generator":
    if request.unseen is not None or request.kind is not None:
        raise GenerateArgumentsError(
            f"{request.source} is a published generator: it has its kind, and was audited by those who have "
            "the records. Leave out --kind and --unseen."
        )
    from ayni.workflows.generate_data import find_generator as find

    progress.started("load", total=None)
    generator, snapshot = find(installation.house.hub, request.source)
    progress.finished("load", text=f"{snapshot.repository} at {snapshot.revision[:12]}")
    return generator


def _real(request: GenerateRequest, installation: Installation, progress: Progress) -> "Real":
    from dataclasses import replace

    from ayni.data.arrays_file import read_records
    from ayni.workflows.generate_data import Real

    progress.started("load", total=None)
    if request.source.endswith(".npz"):
        real = Real(records=read_records(Path(request.source)), source=Path(request.source).name)
    else:
        real = _of_task(request.source, installation)
    if request.unseen is not None:
        real = replace(real, unseen=read_records(request.unseen))
    if request.of is not None:
        real = replace(real, source=request.of)
    if request.licence is not None:
        real = replace(real, licence=request.licence)
    apart = "none kept apart, so that no leak audit is run"
    unseen = apart if real.unseen is None else f"{len(real.unseen)} kept apart for the audit"
    progress.finished("load", text=f"{len(real.records)} records, {unseen}")
    return real


def _of_task(source: str, installation: Installation) -> "Real":
    """Records of a task: it learns from "train"; "test" is what it never sees."""
    from ayni.data.card import read_data_card
    from ayni.data.records import records_of
    from ayni.task import TaskReference
    from ayni.workflows.generate_data import Real

    if ":" in source:
        path, _, name = source.rpartition(":")
        file = Path(path if path.endswith(".py") else f"{path}.py")
        reference = TaskReference(module_path=file, object_name=name)
    elif Path(source).suffix:
        raise GenerateArgumentsError(
            f"{source} is no source: expected an .npz file, path/to/task.py:Object, a run, or a published "
            "generator owner/name."
        )
    else:
        reference = installation.runs.open(source).job.task
    task = reference.load()
    card = read_data_card(task)
    return Real(
        records=records_of(task.dataset("train")),
        unseen=_test_of(task.dataset("test")),
        source=card.name or str(reference),
        licence=card.licence,
    )


def _test_of(dataset: Any) -> "Records | None":
    from ayni.data.records import records_of

    return records_of(dataset) if len(dataset) else None


def _learned(
    request: GenerateRequest, real: "Real", installation: Installation, progress: Progress
) -> "Generator":
    import tempfile

    from ayni.data.generation.generator_settings import GeneratorSettings
    from ayni.workflows.generate_data import learn_generator
    from ayni.workflows.train_generator import GeneratorTraining, train_here, train_on_pool

    try:
        settings = GeneratorSettings(
            kind=request.kind or "flow",
            shrinkage=request.shrinkage,
            category_columns=request.category_columns,
        )
        training = GeneratorTraining(steps=request.steps, learners=request.learners, engine=request.engine)
        rounds = training.config(settings.kind).rounds
    except ValueError as error:
        raise GenerateArgumentsError(f"{error}.") from error
    progress.started("learn", total=rounds if settings.is_neural else None)
    watch = _Watch(progress)
    with tempfile.TemporaryDirectory(prefix="ayni-generate-") as scratch:
        if request.engine == HERE:
            train = train_here(training, observer=watch)
        else:
            train = train_on_pool(
                training,
                real.records,
                settings,
                held_out=None,
                make_engine=installation.house.make_engine,
                folder=Path(scratch),
                observer=watch,
            )
        generator = learn_generator(real, settings, seed=request.seed, train=train)
    text = f"{generator.card.kind} of {generator.card.num_records} records"
    progress.finished("learn", text=text)
    return generator


class _Watch:
    """Shows each round of a generator's training. Fulfils `ayni.train.result.Observer`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def round_finished(self, progress: "RoundProgress") -> None:
        self._done = progress.round
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in progress.metrics.items())
        text = f"loss {progress.train_loss:.3g}, {metrics}"
        self._progress.advanced("learn", done=self._done, text=text)

    def noticed(self, message: str) -> None:
        self._progress.advanced("learn", done=self._done, text=message)
