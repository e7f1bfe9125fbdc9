"""What clouds ask for their machines: one price list, read from a CSV file and never completed by guessing.

A file has one line for each machine type and region. Its columns:

| column | meaning |
|---|---|
| region, instance_type | the cloud's own names |
| usd_per_hour | price on demand, dollars an hour before tax |
| usd_per_hour_spot | price of capacity that the cloud may take back; may be empty |
| vcpus, mem_gib | what the machine is; needed unless the type is known |
| gpu_model, gpu_count, gpu_mem_gib_each | its accelerators; empty for none |

A line without a price, with one that is not above zero, or above `MOST_DOLLARS_PER_HOUR` (a price for a
month, most likely), and a machine that stands twice make the whole file unusable: half a price list would
let the market place work by what somebody forgot.

Not covered: commitments of a year or more, licences, discs, and traffic between regions.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from ayni.errors import UserError

Purchase = Literal["on-demand", "spot"]
PURCHASES: tuple[Purchase, ...] = ("on-demand", "spot")
MICRODOLLARS_PER_DOLLAR = 1_000_000
BYTES_PER_GIB = 2**30
MOST_DOLLARS_PER_HOUR = 1000
"""Several times the dearest machine of the shipped lists; a price for a month is above it."""
MAX_FILE_BYTES = 16 * 2**20
_PRICE_COLUMNS: Mapping[Purchase, str] = {"on-demand": "usd_per_hour", "spot": "usd_per_hour_spot"}
_TYPE_COLUMNS = ("instance_type", "vcpus", "mem_gib")


class PriceFileError(UserError):
    """A price list of a cloud cannot be used."""

    def __init__(self, *, name: str, line: int | None, reason: str) -> None:
        self.line = line
        self.reason = reason
        where = name if line is None else f"{name}, line {line}"
        super().__init__(f"{where}: {reason} Nothing of the list was taken.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudMachine:
    """A machine type of a cloud.

    accelerator is the maker's name, None for a machine without one. num_accelerators None = the cloud
    rents out a part of one, or does not say how many.
    """

    instance_type: str
    num_cores: int
    memory_bytes: int
    accelerator: str | None
    num_accelerators: int | None
    accelerator_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPrice:
    """What one machine costs in one region for an hour, in whole micro-dollars."""

    region: str
    machine: CloudMachine
    purchase: Purchase
    microdollars_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Everything that a file says: machine types by name, and prices; none for a list of types alone."""

    machines: Mapping[str, CloudMachine]
    prices: tuple[CloudPrice, ...]


def read_price_file(path: Path, *, known: Mapping[str, CloudMachine] | None = None) -> PriceList:
    """The price list in a file; `known` machine types may stand in it by their name alone.

    Raises:
        PriceFileError: the file cannot be read, or one of its lines is not a price.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            reason = f"has more than {MAX_FILE_BYTES:,} bytes. Is it the right file?"
            raise PriceFileError(name=str(path), line=None, reason=reason)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}."
        raise PriceFileError(name=str(path), line=None, reason=reason) from error
    except UnicodeDecodeError as error:
        reason = "is not text in UTF-8. Save it as CSV in UTF-8."
        raise PriceFileError(name=str(path), line=None, reason=reason) from error
    return parse_prices(text, name=path.name, known=known)


def parse_prices(text: str, *, name: str, known: Mapping[str, CloudMachine] | None = None) -> PriceList:
    """The price list in a CSV text; `name` is what errors call it.

    Raises:
        PriceFileError: a column is missing or a line is not a price.
    """
    rows = _rows(text, name)
    columns = rows.fieldnames or []
    _check_columns(name, columns, needs_types=not known)
    machines = dict(known or {})
    prices: dict[tuple[str, str, Purchase], CloudPrice] = {}
    for row in _lines(rows, name):
        line = _Line(name=name, number=rows.line_num, cells=row)
        machine = _machine(line, machines)
        machines[machine.instance_type] = machine
        for price in _prices(line, machine):
            key = (price.region, machine.instance_type, price.purchase)
            if key in prices:
                raise line.error(f"{machine.instance_type} in {price.region} stands twice.")
            prices[key] = price
    if not machines or ("usd_per_hour" in columns and not prices):
        raise PriceFileError(name=name, line=None, reason="has no lines.")
    return PriceList(machines=machines, prices=tuple(prices.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of a file: cells by column, and where it stands."""

    name: str
    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def error(self, reason: str) -> PriceFileError:
        return PriceFileError(name=self.name, line=self.number, reason=reason)

    def needed(self, column: str) -> str:
        if not (text := self.text(column)):
            raise self.error(f"{column} is empty.")
        return text

    def number_of(self, column: str, *, least: float) -> float | None:
        """The number in a cell; None for an empty one."""
        if not (text := self.text(column)):
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= least):
            raise self.error(f"{column} is {text!r}, it must be a number of at least {least:g}.")
        return number

    def count_of(self, column: str, *, least: int) -> int | None:
        number = self.number_of(column, least=least)
        if number is not None and number != int(number):
            raise self.error(f"{column} is {number:g}, it must be a whole number.")
        return None if number is None else int(number)


def _rows(text: str, name: str) -> "csv.DictReader[str]":
    if "\0" in text:
        raise PriceFileError(name=name, line=None, reason="is not text: it has zero bytes in it.")
    return csv.DictReader(io.StringIO(text), strict=True, restkey="", restval="")


def _lines(rows: "csv.DictReader[str]", name: str) -> Iterator[dict[str, str]]:
    """The lines one by one; one with too many cells has lost a comma's quotes somewhere."""
    try:
        for row in rows:
            if "" in row:
                reason = f"has more cells than the {len(rows.fieldnames or [])} columns."
                raise PriceFileError(name=name, line=rows.line_num, reason=reason)
            yield row
    except csv.Error as error:
        reason = f"is not CSV: {error}."
        # The reader below has seen the line; DictReader counts it only when it has been given out.
        raise PriceFileError(name=name, line=rows.reader.line_num, reason=reason) from error


def _check_columns(name: str, columns: Sequence[str], *, needs_types: bool) -> None:
    needed = _TYPE_COLUMNS if needs_types else ("instance_type", "region", "usd_per_hour")
    if missing := [column for column in needed if column not in columns]:
        reason = f"the column {missing[0]} is missing; found {', '.join(columns) or 'none'}."
        raise PriceFileError(name=name, line=1, reason=reason)


def _machine(line: _Line, known: Mapping[str, CloudMachine]) -> CloudMachine:
    instance_type = line.needed("instance_type")
    cores, memory_gib = line.count_of("vcpus", least=1), line.number_of("mem_gib", least=0.1)
    if cores is None and memory_gib is None and instance_type in known:
        return known[instance_type]
    if cores is None or memory_gib is None:
        raise line.error(
            f"what {instance_type} is, is not known: fill in vcpus and mem_gib, and gpu_model and gpu_count "
            "where it has accelerators."
        )
    accelerator = line.text("gpu_model") or None
    accelerator_gib = line.number_of("gpu_mem_gib_each", least=0)
    found = CloudMachine(
        instance_type=instance_type,
        num_cores=cores,
        memory_bytes=round(memory_gib * BYTES_PER_GIB),
        accelerator=accelerator,
        num_accelerators=line.count_of("gpu_count", least=0 if accelerator is None else 1),
        accelerator_memory_bytes=round(accelerator_gib * BYTES_PER_GIB) if accelerator_gib else None,
    )
    if known.get(instance_type, found) != found:
        raise line.error(f"{instance_type} is another machine here than before.")
    return found


def _prices(line: _Line, machine: CloudMachine) -> Iterator[CloudPrice]:
    if "usd_per_hour" not in line.cells:
        return
    region = line.needed("region")
    found = {purchase: _microdollars(line, column) for purchase, column in _PRICE_COLUMNS.items()}
    if found["on-demand"] is None:
        raise line.error(
            f"{machine.instance_type} in {region} has no price. Fill it in or take the line out: a price "
            "that is not known is never invented."
        )
    for purchase, microdollars in found.items():
        if microdollars is not None:
            yield CloudPrice(
                region=region, machine=machine, purchase=purchase, microdollars_per_hour=microdollars
            )


def _microdollars(line: _Line, column: str) -> int | None:
    """A price in whole micro-dollars, rounded up so that nothing is sold below its cost; None for none."""
    if not (text := line.text(column)):
        return None
    try:
        dollars = Decimal(text)
    except InvalidOperation:
        dollars = Decimal("nan")
    if not dollars.is_finite() or not 0 < dollars <= MOST_DOLLARS_PER_HOUR:
        raise line.error(
            f"{column} is {text!r}, it must be dollars an hour, above 0 and at most "
            f"{MOST_DOLLARS_PER_HOUR:,}."
        )
    return math.ceil(dollars * MICRODOLLARS_PER_DOLLAR)
