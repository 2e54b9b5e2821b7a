"""
Searches for rows, ledgers and results files that break the loaders; the search is guided by coverage.

`make fuzz` sends 100,000 inputs through the loaders of the table and the ledger, and through
`conformance.results.read`, `diff` and `triage`, in one process under libFuzzer (Atheris, the extra `fuzz`). libFuzzer
changes inputs that reached new code further. The first inputs are the rows and entries of `cases/`, and words that have
broken parsers.

A right answer reads the input, or refuses it with one printable line for each fault that names file, line and column.
An input with a traceback or a second line is written to `build/fuzz`; add it to `tests/integration/test_fuzzing.py`.
An input that takes more than `SECONDS` or `MEBIBYTES` of resident memory is written too, and ends the search.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.table.files import default_cases, is_ledger

RUNS: Final = 100_000
SECONDS: Final = 10
MEBIBYTES: Final = 1024
LONGEST: Final = 2048
INPUTS: Final = Path("build/fuzz")
ANSWERS: Final = "answers.json"

#: The first byte of an input names its loader: table, ledger or results file.
LOADERS: Final = b"TLR"
FAULT: Final = re.compile(r"(?P<file>[^:]+):[1-9][0-9]*:[1-9][0-9]*: .{1,500}")
WORDS: Final = (
    *(
        "!!python/object/apply:os.system ",
        "!x ",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "| ",
        ">-\n",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
    ),
    *("1e999999", "-1e999999", "9" * 30, "0x" + "f" * 17, str(2**63), str(10**17), ".nan", "-.inf", "0o7", "-0"),
    *("\0", "\ufeff", "\r\n", "\r", "\t", "\x1b[2J", "\u2028", "\u202e", '"\\ud800"', '"\\U00110000"', "\\x1b", "é"),
    *("[" * 40, "]" * 40, "{a: " * 20, "- " * 40, "[]", "{}", "''", '""', "null", "true", "~", ":", "#", "'", '"', ","),
    *(
        "each: {units: [1, 2]}",
        "expect: {error: true}",
        "expect: {nonfinite: true}",
        "data: {x: 1, kernel: 1, bias: 1}",
    ),
    *("batch: [2, 3]", "batch: null", "values: literal", "feed_shape: [2, 3]", "environment: {JAX_ENABLE_X64: '1'}"),
    *("instead: {loses_bias: true}", "instead: {refuses: {type: E, message: [a]}}", "instead: {crashes: [SIGABRT]}"),
    *("when: {call: forward, fed: {samples: 0}}", "when: {units: {min: 1}}", "when: {versions: {keras: '<4'}}"),
    *("divergences:", "rows:", "defaults: {units: 4}"),
)
VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    1e308,
    "",
    "x",
    "nan",
    "-inf",
    "\ud800\x1b[2J",
    [],
    {},
    [[]],
    [1],
    {"a": 1},
)
SAMPLE: Final = (
    {"type": "header", "schema": 1, "started": "2026-01-01T00:00:00Z", "selection": {"draws": 1}, "cells": 2},
    {
        "type": "implementation",
        "implementation": "torch",
        "versions": {"torch": "2"},
        "settings": {},
        "devices": ["cpu"],
    },
    {"type": "cell", "case": "a", "implementation": "torch", "device": "cpu", "outcome": "conforms", "checks": []},
    {
        "type": "cell",
        "case": "b",
        "implementation": "torch",
        "device": "cpu",
        "outcome": "violates",
        "checks": [
            {"check": "output", "outcome": "violates", "margin": 2.5, "worst": [0, 1], "message": "m"},
            {"check": "gradients", "outcome": "violates", "raised": {"stage": "call", "type": "E", "message": "m"}},
            {"check": "output_shape", "outcome": "violates", "observed": [[2, 3]]},
        ],
        "crash": None,
        "question": {"dtype": "float32"},
        "row": "a.yaml:1",
        "reason": "r",
    },
    {"type": "footer", "counts": {"conforms": 1, "violates": 1}, "complete": True, "seconds": 1.5},
)


def seeds() -> Iterator[bytes]:
    """Yield the first inputs: each row and entry of `cases/` as a file of its own, and results files."""
    for path in sorted(default_cases().rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        loader = b"L" if is_ledger(path) else b"T"
        head, *entries = re.split(r"^(?=  - )", text, flags=re.MULTILINE)
        for entry in entries:
            yield (
                (loader + (head + entry).encode())[-LONGEST:]
                if len(head) < 600
                else loader + b"rows:\n" + entry.encode()
            )
    lines = [json.dumps(each) for each in SAMPLE]
    yield from (b"R" + "\n".join(lines[:count]).encode() for count in range(len(lines) + 1))


def answered(data: bytes, folder: Path) -> str:
    """
    Return `read` or `refused` for an input, whose first byte names the loader.

    Raises:
        Exception: the loader raised something else than one line for each fault.
    """
    from conformance.commands.triage.command import drafts
    from conformance.ledger import load_ledger
    from conformance.results import ResultsError, read
    from conformance.results.diff.comparison import diff
    from conformance.table.loader import load
    from conformance.table.yaml_document import DocumentError

    path = folder / "input.yaml"
    path.write_bytes(data[1:])
    kind = LOADERS[(data[0] if data else 0) % len(LOADERS)] if data[:1] not in (b"T", b"L", b"R") else data[0]
    try:
        if kind == LOADERS[2]:
            run = read(path)
            diff(run, run)
            drafts(run)
        elif kind == LOADERS[1]:
            load_ledger([path])
        else:
            load([path])
    except ResultsError as error:
        if not (str(error).startswith(f"{path}:") and str(error).isprintable()):
            raise
        return "refused"
    except DocumentError as error:
        matches = [FAULT.fullmatch(str(each)) for each in error.faults]
        if not matches or not all(each and each["file"] == str(path) and each[0].isprintable() for each in matches):
            raise
        return "refused"
    return "read"


def changed(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Return an input with a random change, as of a careless or hostile author; its first byte stays."""
    first, body = data[:1] or b"T", data[1:]
    if first == b"R" and chance.random() < 0.7 and (record := _record(body, chance)) is not None:
        return first + record
    lines = body.split(b"\n")
    at = chance.randrange(len(lines))
    other = chance.choice(others)[1:].split(b"\n")
    match chance.randrange(8):
        case 0:  # a line from elsewhere
            lines[at] = chance.choice(other)
        case 1:
            lines[at:at] = other[: chance.randint(1, 6)]
        case 2:
            del lines[at : at + chance.randint(1, 4)]
        case 3:
            lines[at:at] = lines[at : at + chance.randint(1, 3)] * chance.choice((1, 2, 30))
        case 4:
            lines[at] = b" " * chance.randint(0, 6) + lines[at].lstrip()
        case 5:  # a word in place of another
            parts = re.split(rb"([\w.+-]+)", lines[at])
            parts[chance.randrange(len(parts))] = chance.choice(WORDS).encode("utf-8", "surrogatepass")
            lines[at] = b"".join(parts)
        case 6:  # a word in between
            column = chance.randint(0, len(lines[at]))
            lines[at] = lines[at][:column] + chance.choice(WORDS).encode("utf-8", "surrogatepass") + lines[at][column:]
        case 7:
            start = chance.randint(0, len(lines[at]))
            lines[at] = lines[at][:start] + lines[at][start:][: chance.randint(0, 20)] * chance.choice((0, 2, 50))
    return first + b"\n".join(lines)


def _record(body: bytes, chance: random.Random) -> bytes | None:
    """Return a results file with one value of one record replaced, or None if that line is not JSON."""
    lines = body.split(b"\n")
    at = chance.randrange(len(lines))
    try:
        value: Any = json.loads(lines[at])
    except (ValueError, RecursionError):
        return None
    around = value
    while isinstance(around, dict | list) and around:
        key: Any = chance.choice(list(around) if isinstance(around, dict) else range(len(around)))
        if not isinstance(around[key], dict | list) or chance.random() < 0.3:
            around[key] = chance.choice(VALUES)
            break
        around = around[key]
    lines[at] = json.dumps(value).encode()
    return b"\n".join(lines)


def save_input(data: bytes, error: Exception) -> None:
    """Write an input and its traceback, if it is the first that raised at this line of code."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__}-{Path(at.filename).stem}-{at.lineno}"
    if not [*INPUTS.glob(f"{place}*")]:
        (INPUTS / f"{place}.input").write_bytes(data)
        (INPUTS / f"{place}.txt").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace"
        )


def search(arguments: Sequence[str]) -> None:
    """Search in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["conformance", "yaml"]):
        pass

    others = list(seeds())
    counted = {"read": 0, "refused": 0, "neither": 0}
    with tempfile.TemporaryDirectory(dir=Path(arguments[-1]).parent) as name:
        folder = Path(name)

        def one(data: bytes) -> None:
            try:
                counted[answered(data, folder)] += 1
            except Exception as error:  # Any exception is a find, and the search continues.
                save_input(data, error)
                counted["neither"] += 1
            if sum(counted.values()) % 100 == 0:  # libFuzzer ends the process without a hook for Python.
                (folder.parent / ANSWERS).write_text(json.dumps(counted), encoding="utf-8")

        def mutate(data: bytes, longest: int, seed: int) -> bytes:
            chance = random.Random(seed)
            if chance.random() < 0.3:
                return bytes(atheris.Mutate(data, longest))
            if chance.random() < 0.2:  # The first inputs have hundreds of rows and one results file.
                data = others[-1]
            for _ in range(chance.choice((1, 1, 1, 2))):
                data = changed(data, chance, others)
            return data[:longest]

        atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
        atheris.Fuzz()


def measure(runs: int = RUNS, seed: int = 1) -> dict[str, Any]:
    """
    Search in a process of its own and return the figures.

    `coverage` is the number of branches reached in the loaders and the YAML parser, `corpus` the number of inputs that
    reached a new branch. `found` lists the files of finds, and `targets_met` is true if there are none.
    """
    INPUTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        for number, each in enumerate(dict.fromkeys(seeds())):
            (corpus / f"{number:05}").write_bytes(each)
        before = {*INPUTS.iterdir()}
        options = [f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={SECONDS}"]
        options += [
            f"-rss_limit_mb={MEBIBYTES}",
            f"-artifact_prefix={INPUTS}/",
            "-print_final_stats=1",
            "-mutate_depth=2",
        ]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tools.fuzz", "search", *options, str(corpus)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        seconds = time.monotonic() - started
        answers_file = Path(name) / ANSWERS
        answers = json.loads(answers_file.read_text(encoding="utf-8")) if answers_file.exists() else {}
    matches = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    sent = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    inputs = int(sent[-1]) if sent else 0
    found = sorted(str(each) for each in {*INPUTS.iterdir()} - before)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "inputs": inputs,
        "seconds": round(seconds, 1),
        "peak_mebibytes": round(peak),
        "coverage": int(matches[-1][0]) if matches else 0,
        "features": int(matches[-1][1]) if matches else 0,
        "corpus": int(matches[-1][2]) if matches else 0,
        "answers": answers,
        "found": found,
        "stderr": "" if done.returncode == 0 else done.stderr[-3000:],
        "target": f"{RUNS:,} inputs, no traceback, none longer than {SECONDS} s, at most {MEBIBYTES} MiB",
        "targets_met": done.returncode == 0 and inputs >= runs and not found and peak <= MEBIBYTES,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        search(sys.argv[2:])
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    print(json.dumps({key: value for key, value in figures.items() if key != "stderr"}, indent=2))
    print(figures["stderr"], end="")
    sys.exit(not figures["targets_met"])
