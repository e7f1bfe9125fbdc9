"""The benchmarks' command line: list, run, document."""

import argparse
import json
import sys
import time

from benchmarks.document import write_page
from benchmarks.registry import Benchmark, UnknownBenchmarkError, all_benchmarks, find
from benchmarks.rows import append_row


def main() -> int:
    """Run the command line; 0 when it did what was asked, 2 for an unknown name.

    A missed bar is a result, not a failure: the exit code stays 0.
    """
    arguments = _parser().parse_args()
    if arguments.command == "list":
        _list(as_json=arguments.json)
    elif arguments.command == "document":
        print(write_page())
    else:
        return _run(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="name every benchmark, its topic, bar and time")
    listing.add_argument("--json", action="store_true")
    running = commands.add_parser("run", help="measure, append a row, renew docs/benchmarks.md")
    running.add_argument("name", nargs="?")
    running.add_argument("--all", action="store_true", help="every benchmark, one after the other")
    running.add_argument("--quick", action="store_true", help="fewer seeds and repeats")
    running.add_argument("--json", action="store_true", help="the last line is the result as JSON")
    commands.add_parser("document", help="renew docs/benchmarks.md from the rows")
    return parser


def _list(*, as_json: bool) -> None:
    benchmarks = all_benchmarks().values()
    if as_json:
        print(json.dumps([benchmark.to_json() for benchmark in benchmarks], indent=2))
        return
    for benchmark in benchmarks:
        seconds = f"{benchmark.seconds_quick}/{benchmark.seconds_full} s"
        print(f"{benchmark.name:20} {benchmark.topic:12} {seconds:>12}  {benchmark.bar}")


def _run(arguments: argparse.Namespace) -> int:
    if bool(arguments.name) == arguments.all:
        print("Name one benchmark, or say --all.", file=sys.stderr)
        return 2
    try:
        chosen = list(all_benchmarks().values()) if arguments.all else [find(arguments.name)]
    except UnknownBenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    for benchmark in chosen:
        _measure(benchmark, quick=arguments.quick, as_json=arguments.json)
    write_page()
    return 0


def _measure(benchmark: Benchmark, *, quick: bool, as_json: bool) -> None:
    started = time.perf_counter()
    outcome = benchmark.measure(quick)
    row = append_row(benchmark, outcome, quick=quick, seconds=time.perf_counter() - started)
    if not as_json:
        for name, value in row["values"].items():
            print(f"{benchmark.name}: {name} = {value}")
        print(f"{benchmark.name}: {'met' if row['met'] else 'NOT met'}: {benchmark.bar}")
        return
    print(json.dumps({name: row[name] for name in ("name", "topic", "values", "bar", "met")}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
