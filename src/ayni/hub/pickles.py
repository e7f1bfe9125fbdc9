"""What a pickle would import and call when it is loaded, found without loading it.

A pickle is a program. Its instructions are followed here on a stack of which only texts are known, so that a
name which is put together from the memo is seen as well. What a program imports is judged by a list of what
is allowed, because lists of what is forbidden were always too short:

    safe         it imports only what builds tensors, arrays and plain values
    unlisted     it imports something else
    dangerous    it imports what runs commands or code, or a name that only the running program knows
    unreadable   from some byte on nobody can tell what it does

What came before an unreadable byte counts too: a loader would have run it before it failed.

Not covered: archives and compressed files (see content_scan), loaders with a `find_class` of their own, and
weaknesses of the allowed functions themselves.

Source: Python's pickletools, whose descriptions of instructions are used, and PEP 3154 and 574;
`torch.load(weights_only=True)` for what a file of tensors needs.
"""

import io
import pickletools
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ayni.hub.ranged_file import RangedFile

Verdict = Literal["none", "safe", "unlisted", "unreadable", "dangerous"]
VERDICTS: tuple[Verdict, ...] = ("none", "safe", "unlisted", "unreadable", "dangerous")
"""From good to bad."""

_NEWEST_PROTOCOL = max(instruction.proto for instruction in pickletools.opcodes)
_PROTO = 0x80
# Those that take nothing from the stack; a pickle that begins with another fails at once.
_FIRST_INSTRUCTIONS = frozenset(ord(each.code) for each in pickletools.opcodes if not each.stack_before)
MAX_INSTRUCTIONS = 1_000_000
MAX_PICKLES = 64
# Longer arguments are the bytes of tensors. They are passed over, so that memory stays small.
MAX_ARGUMENT_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
MAX_FINDINGS = 100
MAX_IMPORTS = 10_000
MAX_NAME_LENGTH = 200

_DTYPES = (
    "bfloat16 bool complex128 complex32 complex64 float16 float32 float64 float8_e4m3fn float8_e5m2 int16 "
    "int32 int64 int8 uint16 uint32 uint64 uint8 qint8 quint8 qint32"
)
_STORAGES = (
    "BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage "
    "DoubleStorage FloatStorage HalfStorage IntStorage LongStorage QInt32Storage QInt8Storage "
    "QUInt8Storage ShortStorage"
)
_PLAIN_BUILTINS = (
    "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
)
_REBUILDING = (
    "_rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
    "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3"
)
_NUMPY_ARRAYS = "_reconstruct scalar"
_ALLOWED: dict[str, str] = {
    "_codecs": "encode",
    "builtins": _PLAIN_BUILTINS,
    "__builtin__": f"{_PLAIN_BUILTINS} long unicode",
    "collections": "Counter OrderedDict defaultdict deque",
    "copy_reg": "_reconstructor",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": _NUMPY_ARRAYS,
    "numpy._core.multiarray": _NUMPY_ARRAYS,
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "torch": f"{_DTYPES} {_STORAGES} Size device Tensor",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch._utils": _REBUILDING,
    "torch.nn.parameter": "Parameter",
    "torch.serialization": "_get_layout",
    "torch.storage": "TypedStorage UntypedStorage",
    "uuid": "UUID",
}
ALLOWED_IMPORTS = frozenset((module, name) for module, names in _ALLOWED.items() for name in names.split())

_DANGEROUS_MODULES_TEXT = (
    "_pickle aiohttp asyncio bdb cloudpickle code codeop commands ctypes dill distutils doctest ensurepip "
    "ftplib functools httplib httpx idlelib imaplib importlib imp io joblib lib2to3 linecache logging "
    "marshal multiprocessing nt ntpath operator os pathlib pdb pickle pip pkgutil platform poplib popen2 "
    "posix posixpath profile cProfile pty pydoc requests runpy rlcompleter setuptools shelve shutil site "
    "smtplib socket ssl subprocess sys tempfile test threading timeit trace types urllib urllib2 venv "
    "webbrowser xmlrpc zipimport"
)
_DANGEROUS_MODULES = frozenset(_DANGEROUS_MODULES_TEXT.split())
_DANGEROUS_BUILTINS_TEXT = (
    "__import__ apply breakpoint classmethod compile delattr eval exec execfile exit file filter getattr "
    "globals help input locals map memoryview open print quit raw_input reduce reload setattr vars"
)
_DANGEROUS_BUILTINS = frozenset(_DANGEROUS_BUILTINS_TEXT.split())
_DANGEROUS_NAMES = frozenset(
    {
        ("numpy", "load"),
        ("numpy", "f2py"),
        ("pandas", "eval"),
        ("pandas", "read_pickle"),
        ("torch", "load"),
        ("torch", "compile"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch.storage", "_load_from_bytes"),
    }
)


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...

    def readline(self, size: int, /) -> bytes:
        """The bytes up to the end of the line, but at most so many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a person should know about a file.

    Attributes:
        verdict: how bad it is.
        what: `module.name` of an import, or what could not be read.
        inside: the member of an archive that holds it; empty for the file itself.
    """

    verdict: Verdict
    what: str
    inside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleReading:
    """What the pickles of a stream do.

    Attributes:
        imports: what they import, each once, in order; a name that is not known is "?".
        calls: whether anything is called.
        problem: why the rest cannot be read; empty when all was.
        num_pickles: how many ended as they should.
    """

    imports: tuple[tuple[str, str], ...]
    calls: bool
    problem: str
    num_pickles: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is not safe."""
        judged = [(judge_import(*each), f"{each[0]}.{each[1]}") for each in self.imports]
        found = [Finding(verdict=verdict, what=what) for verdict, what in judged if verdict != "safe"]
        found.sort(key=lambda each: -VERDICTS.index(each.verdict))
        if self.problem:
            found.append(Finding(verdict="unreadable", what=self.problem))
        return tuple(found[:MAX_FINDINGS])

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst("safe", *(each.verdict for each in self.findings))


def worst(*verdicts: Verdict) -> Verdict:
    """The worst of some verdicts; "none" of none."""
    return max(verdicts, key=VERDICTS.index, default="none")


def judge_import(module: str, name: str) -> Verdict:
    """What it means that a pickle imports this."""
    if (module, name) in ALLOWED_IMPORTS:
        return "safe"
    first = module.partition(".")[0]
    if "?" in (module, name) or first in _DANGEROUS_MODULES or (module, name) in _DANGEROUS_NAMES:
        return "dangerous"
    if first in ("builtins", "__builtin__") and name.partition(".")[0] in _DANGEROUS_BUILTINS:
        return "dangerous"
    # A dotted name walks from the imported object on, to wherever it leads: `x.__globals__`.
    return "dangerous" if "__" in name and "." in name else "unlisted"


def read_pickles(stream: Readable) -> PickleReading:
    """Follow the pickles at the start of a stream, one after the other, without running them.

    Several may follow each other, as in files of older versions of PyTorch; what comes after them and does
    not begin like a pickle of protocol 2 or later is data. Cost: about a second for a million instructions.
    """
    passing = _Passing(stream)
    machine = _Machine()
    problem, num_pickles = "", 0
    while num_pickles < MAX_PICKLES:
        try:
            for instruction, argument, _position in pickletools.genops(passing):  # type: ignore[arg-type]
                machine.step(instruction, argument)
        # pickletools raises many kinds for bytes that are no pickle; each means that nobody can tell.
        except Exception as error:
            problem = f"not readable after {machine.num_instructions} instructions: {_one_line(error)}"
            break
        num_pickles += 1
        machine.begin_again()
        if not passing.begins_with_protocol():
            break
    else:
        problem = f"more than {MAX_PICKLES} pickles in one file"
    return PickleReading(
        imports=tuple(machine.imports), calls=machine.calls, problem=problem, num_pickles=num_pickles
    )


def may_begin_pickle(start: bytes) -> bool:
    """Whether a pickle may begin with these bytes, so that it is worth following them."""
    return bool(start) and start[0] in _FIRST_INSTRUCTIONS


def is_pickle(start: bytes, reading: PickleReading) -> bool:
    """Whether bytes are a pickle, or prose that happens to begin like one.

    Protocols 2 and later begin with a byte of their own. Older ones are text: they are taken for a pickle if
    they import something with the name of a thing in Python, and end as a pickle or call something.
    """
    if len(start) >= 2 and start[0] == _PROTO and 2 <= start[1] <= _NEWEST_PROTOCOL:
        return True
    names = any(_is_name(module) and _is_name(name) for module, name in reading.imports)
    return names and (reading.calls or reading.num_pickles > 0)


def _is_name(text: str) -> bool:
    return text == "?" or all(part.isidentifier() for part in text.split("."))


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


class _Opaque:
    """A value that is not known."""


class _Mark:
    """What MARK leaves on the stack."""


class _Skipped(bytes):
    """A long argument that was passed over; it is empty and says how long it was."""

    _length: int

    def __new__(cls, length: int) -> "_Skipped":
        made = super().__new__(cls)
        made._length = length
        return made

    def __len__(self) -> int:
        return self._length


class _Passing:
    """A stream for pickletools that never holds a long argument in memory."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._ahead = b""

    def read(self, size: int) -> bytes:
        if size <= MAX_ARGUMENT_BYTES:
            return self._read_exactly(size)
        if isinstance(self._stream, RangedFile):
            return self._skip(self._stream, size)
        rest = size
        while rest > 0:
            part = self._read_exactly(min(rest, MAX_ARGUMENT_BYTES))
            if not part:
                return b""
            rest -= len(part)
        return _Skipped(size)

    def _skip(self, stream: RangedFile, size: int) -> bytes:
        beyond = size - len(self._ahead)
        self._ahead = b""
        if beyond > stream.size_bytes - stream.tell():
            return b""
        stream.seek(beyond, io.SEEK_CUR)
        return _Skipped(size)

    def readline(self) -> bytes:
        start, self._ahead = self._ahead, b""
        return start if start.endswith(b"\n") else start + self._stream.readline(MAX_LINE_BYTES)

    def begins_with_protocol(self) -> bool:
        """Whether the next bytes begin another pickle; they stay to be read."""
        self._ahead = self._read_exactly(2)
        return len(self._ahead) == 2 and self._ahead[0] == _PROTO and 2 <= self._ahead[1] <= _NEWEST_PROTOCOL

    def _read_exactly(self, size: int) -> bytes:
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        while len(found) < size:
            more = self._stream.read(size - len(found))
            if not more:
                break
            found += more
        return found


_CALLING = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_TEXTS = frozenset(
    ["STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"]
)
_OPAQUE, _MARK = _Opaque(), _Mark()


class _Machine:
    """The unpickler's stack and memo, with texts and nothing else."""

    def __init__(self) -> None:
        self.imports: dict[tuple[str, str], None] = {}
        self.calls = False
        self.num_instructions = 0
        self.begin_again()

    def begin_again(self) -> None:
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def step(self, instruction: Any, argument: Any) -> None:
        self.num_instructions += 1
        if self.num_instructions > MAX_INSTRUCTIONS:
            raise ValueError(f"more than {MAX_INSTRUCTIONS} instructions")
        name = instruction.name
        self.calls = self.calls or name in _CALLING
        if name in ("GLOBAL", "INST"):
            module, _, attribute = str(argument).partition(" ")
            self._note(module, attribute)
        elif name in ("EXT1", "EXT2", "EXT4"):
            # The registry of the loading process says what this is.
            self._note("?", f"extension {argument}")
        elif name == "STACK_GLOBAL":
            self._note(*self._two_names())
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(self._memo) if name == "MEMOIZE" else int(argument)
            self._memo[index] = self._stack[-1] if self._stack else _OPAQUE
        else:
            self._move(instruction, argument)

    def _move(self, instruction: Any, argument: Any) -> None:
        name = instruction.name
        if name == "MARK":
            self._stack.append(_MARK)
        elif name in _TEXTS:
            self._stack.append(argument if isinstance(argument, str) else _OPAQUE)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo.get(int(argument), _OPAQUE))
        elif name == "DUP":
            self._stack.append(self._stack[-1] if self._stack else _OPAQUE)
        elif name == "POP":
            self._pop()
        else:
            self._take(instruction.stack_before)
            self._stack.extend(_OPAQUE for _ in instruction.stack_after)

    def _take(self, before: list[Any]) -> None:
        marks = [position for position, each in enumerate(before) if each is pickletools.markobject]
        if marks:
            while self._stack and self._stack.pop() is not _MARK:
                pass
        for _ in range(marks[0] if marks else len(before)):
            self._pop()

    def _pop(self) -> object:
        return self._stack.pop() if self._stack else _OPAQUE

    def _two_names(self) -> tuple[str, str]:
        module, name = ([_OPAQUE, _OPAQUE, *self._stack])[-2:]
        return (module if isinstance(module, str) else "?", name if isinstance(name, str) else "?")

    def _note(self, module: str, name: str) -> None:
        self.imports[module[:MAX_NAME_LENGTH], name[:MAX_NAME_LENGTH]] = None
        if len(self.imports) > MAX_IMPORTS:
            raise ValueError(f"more than {MAX_IMPORTS} different imports")
