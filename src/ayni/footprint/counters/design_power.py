"""The design power (TDP) of this machine's processors, from a table of 4,918 names.

Names are compared after taking out what differs between makers' spellings ("(R)", "CPU", "@ 2.40GHz",
"8-Core Processor"), and must then be equal: a name that only resembles another is not that processor, and
would be wrong by a factor of ten. A virtual machine gets the share of its hardware threads, when the name
says how many cores the host's processor has.

Not covered: names that hosts hide ("AMD EPYC", "Intel Xeon Processor"); ARM servers; processors with their
limit changed by the operator.

Source: factors/NOTICE-cpu-power.md.
"""

import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_NOISE = re.compile(
    r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*|\b\d+-cores?\b|\b(?:six|eight|twelve|sixteen|quad|dual)-core\b"
    r"|\bwith radeon.*|\bw/ radeon.*|\b\d+th gen\b"
)
_THREADS_PER_CORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """What the operating system says of the processors of this machine."""

    name: str
    num_sockets: int
    num_cpus: int
    is_virtual: bool


def read_processor(cpuinfo: Path = CPUINFO) -> Processor | None:
    """The processors of this machine; None where Linux' /proc/cpuinfo does not name them."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    names = [value for key, value in fields if key == "model name"]
    if not names:
        return None
    return Processor(
        name=names[0],
        num_sockets=len({value for key, value in fields if key == "physical id"}) or 1,
        num_cpus=len(names),
        is_virtual=any(key == "flags" and "hypervisor" in value.split() for key, value in fields),
    )


def design_watts(processor: Processor) -> float | None:
    """Design power of all processors of this machine in watts; None when the table lacks the name.

    TDP * sockets, or in a virtual machine TDP * CPUs here / hardware threads of the host's processor.
    """
    watts = _table().get(_plain(processor.name))
    if watts is None:
        return None
    if not processor.is_virtual:
        return watts * processor.num_sockets
    cores = re.search(r"(\d+)-core", processor.name.lower())
    return None if cores is None else watts * processor.num_cpus / (int(cores[1]) * _THREADS_PER_CORE)


def _plain(name: str) -> str:
    return " ".join(_NOISE.sub(" ", name.lower()).split())


@cache
def _table() -> dict[str, float]:
    text = files("ayni.footprint").joinpath("factors/cpu_power.csv").read_text(encoding="utf-8")
    watts: dict[str, set[float]] = {}
    for row in csv.DictReader(text.splitlines()):
        # A handful of entries are ranges or slips ("10-25", "27.29.5").
        with suppress(ValueError):
            watts.setdefault(_plain(row["Name"]), set()).add(float(row["TDP"]))
    return {name: values.pop() for name, values in watts.items() if len(values) == 1}
