"""
Checks that each command reads a changed results file, or refuses it in one line.

`make fuzz` sends `FILES` changed files through every command in one process, and `PROCESSES` of them through commands
in processes of their own. A right answer ends with an exit code of the command, or with exit code 2 and one line on
stderr that begins with `error:`. Its output has no control characters. A file without a right answer is written to
`build/fuzz`; add it to `tests/integration/test_hostile_results.py`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from conformance.commands.cli import main

FILES: Final = 10_000
PROCESSES: Final = 50
INPUTS: Final = Path("build/fuzz")

_QUESTION: Final = {
    "input_shape": [4],
    "units": [3],
    "activation": ["linear"],
    "use_bias": [True],
    "dtype": "float32",
    "batch": 2,
    "lane": "uniform",
    "layout": "contiguous",
    "feed_shape": None,
    "error": False,
}
_GONE: Final = {"id": "adds", "where": "x.yaml:1", "why": "why", "seen_with": {"numpy": "1.0"}}
_VALUES: Final = {
    "check": "output",
    "outcome": "violates",
    "message": "output[0, 0] = 2.0, expected 1.0",
    "margin": 2.5,
    "worst": [0, 0],
    "where": "output",
    "got": 2.0,
    "exact": 1.0,
    "allowed": 0.4,
    "line": "proven",
    "facts": {"margins": {"output": 2.5}, "conduct": {"bias": {"outputs that tell": 3, "last": 3}}, "bitwise": True},
    "near": [{"id": "adds", "where": "x.yaml:1"}],
}
_RAISED: Final = {"stage": "call", "type": "ValueError", "message": "no 3 of 4", "step": "output", "module": "numpy"}


def _cell(case: str, outcome: str, *checks: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    named = {"type": "cell", "case": case, "implementation": "numpy", "device": "cpu", "outcome": outcome}
    return {**named, "checks": list(checks), "seconds": 0.1, "row": "a.yaml:1", "question": _QUESTION, **more}


#: A file with each kind of line and of finding.
SAMPLE: Final[tuple[dict[str, Any], ...]] = (
    {
        "type": "header",
        "schema": 1,
        "started": "2026-01-02T03:04:05Z",
        "distributions": {"numpy": "2.0"},
        "platform": {"system": "Linux"},
        "workers": {"processes": 1},
        "cells": 6,
        "selection": {"implementations": ["numpy"], "draws": 1, "cpu_isa": None, "shard": "1/1"},
        "shards": [{"shard": "1/1", "started": "2026-01-02T03:04:05Z", "seconds": 1.0}],
    },
    {
        "type": "implementation",
        "implementation": "numpy",
        "versions": {"numpy": "2.0", "python": "3.11"},
        "settings": {"a": 1},
        "devices": ["cpu"],
        "threads": 1,
    },
    _cell("a", "conforms", {"check": "output", "outcome": "conforms", "margin": 0.3}, covered=["adds"], gone=[_GONE]),
    _cell("b", "violates", _VALUES, reproduce="import os\n", why="why", source="https://example.org"),
    _cell("c", "violates", {"check": "gradients", "outcome": "violates", "message": "m", "raised": _RAISED}),
    _cell("d", "crashed", crash={"step": "output", "reason": "SIGABRT", "stderr": "e\n", "notes": ["n"]}, reason="r"),
    _cell(
        "e", "diverges", {**_VALUES, "outcome": "diverges", "divergence": _GONE}, behaviours=["adds"], powerless=True
    ),
    _cell("f", "not_run", reason="the run was stopped before this cell"),
    {
        "type": "footer",
        "counts": {"conforms": 1, "violates": 2},
        "complete": True,
        "seconds": 1.5,
        "behaviours": {"adds": {"cells": 1, "seen": 1, "gone": 1}},
        "measured": [],
    },
)
WHOLE: Final = "".join(json.dumps(each) + "\n" for each in SAMPLE).encode()
#: What may stand in the place of a value, and what a field may be called.
_ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf")),
    *("", "x", "nan", "-inf", "cell", "special", "\ud800", "\x1b[2J\x07", "\u202e", "a\nb", "\0", "'); import os #"),
    *([], {}, [[]], [1], [None], {"a": 1}, {"\x1b]0;": "\udfff"}, [[[[{"a": [[]]}]]]], ["x"] * 70, "x" * 3000),
)
_NAMES: Final = ("self", "type", "schema", "cells", "started", "shards", "\x1b[2J", "\ud800", "", "question", "draws")
_BYTES: Final = (
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b'"\\ud800"',
    b"[" * 80,
    b"\r",
    b"{",
    b"\n",
)


def changed(seed: int) -> bytes:
    """Return the sample changed in one to three places, the same for the same seed."""
    chance = random.Random(seed)
    lines = WHOLE.splitlines(keepends=True)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        match chance.randrange(12):
            case 0:  # cut anywhere
                lines[at] = lines[at][: chance.randrange(len(lines[at]))]
            case 1:
                lines[at] = b"" if chance.random() < 0.5 else b" \n"
            case 2:
                lines.insert(chance.randrange(len(lines)), lines[at])
            case 3:
                chance.shuffle(lines)
            case 4:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice(_BYTES) + lines[at][place:]
            case _:
                lines[at] = _with_another_value(lines[at], chance)
        lines = [each for each in lines if each] or [b""]
    return b"".join(lines)


def _with_another_value(line: bytes, chance: random.Random) -> bytes:
    """Return a record with one value replaced, moved, removed or named otherwise; what is no record stays."""
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        return line
    around = record
    while isinstance(around, dict | list) and around:
        key: Any = chance.choice(list(around) if isinstance(around, dict) else range(len(around)))
        if not isinstance(around[key], dict | list) or chance.random() < 0.3:
            turn = chance.random()
            if turn < 0.6:
                around[key] = chance.choice(_ODD)
            elif turn < 0.7:
                around[key] = [around[key]] if chance.random() < 0.5 else {"a": around[key]}
            elif turn < 0.85 and isinstance(around, dict):
                around[chance.choice(_NAMES)] = around.pop(key)
            else:
                del around[key]
            break
        around = around[key]
    return json.dumps(record).encode() + b"\n"


#: A command of a results file -> its arguments, and its exit codes besides 2.
COMMANDS: Final[Mapping[str, tuple[tuple[str, ...], set[int]]]] = {
    "report": (("report", "{file}", "-o", "{folder}/page.html"), {0}),
    "report --against": (("report", "{whole}", "--against", "{file}", "-o", "{folder}/page.html"), {0}),
    "report --history": (("report", "{whole}", "--history", "{nights}", "-o", "{folder}/page.html"), {0}),
    "diff": (("diff", "{whole}", "{file}"), {0, 1}),
    "diff --format json": (("diff", "{file}", "{whole}", "--format", "json"), {0, 1}),
    "diff --format markdown": (("diff", "{whole}", "{file}", "--format", "markdown", "--partial"), {0, 1}),
    "triage": (("triage", "{file}"), {0}),
    "badge": (("badge", "{file}", "-o", "{folder}/badges"), {0}),
    "reproduce": (("reproduce", "numpy/b", "{file}"), {0}),
    "reproduce --check": (("reproduce", "cpu/numpy/c", "{file}", "--check", "gradients"), {0}),
    "reproduce of no cell": (("reproduce", "numpy/bb", "{file}"), set()),
    "merge": (("merge", "{file}", "-o", "{folder}/merged.jsonl"), {0}),
    "merge of a merge": (("merge", "{folder}/merged.jsonl", "-o", "{folder}/again.jsonl"), {0}),
    "history": (("history", "{nights}"), {0}),
    "history --format json": (("history", "{nights}", "numpy/b", "--format", "json"), {0}),
    "nightly publish": (("nightly", "publish", "{nightly}", "--site", "{folder}/site"), {0, 1, 3}),
    "run --times": (("run", "{rows}", "-inumpy", "--collect-only", "--times", "{file}"), {0}),
}

#: A slow command -> of how many files it gets one.
EVERY: Final = {
    **dict.fromkeys(("report", "report --against", "run --times"), 25),
    **dict.fromkeys(("report --history", "history", "history --format json", "nightly publish"), 50),
}


def words(command: str, folder: Path, content: bytes) -> list[str]:
    """Write a file with this content into the folder, and return the arguments of a command that reads it."""
    file = folder / "nights" / "pinned" / "results.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    (folder / "whole.jsonl").write_bytes(WHOLE)
    (folder / "rows.yaml").write_text("rows: [{input_shape: [4], units: 3}]\n", encoding="utf-8")
    places = {"file": file, "folder": folder, "whole": folder / "whole.jsonl", "rows": folder / "rows.yaml"}
    places |= {"nights": file.parent, "nightly": folder / "nights"}
    return [each.format(**places) for each in COMMANDS[command][0]]


def wrong(command: str, code: int, printed: str, stderr: str) -> str:
    """Return what is wrong with an exit code, the output and stderr; empty if nothing is."""
    if code not in {*COMMANDS[command][1], 2}:
        return f"exit code {code}"
    if code == 2 and not (stderr.startswith("error: ") and stderr.endswith("\n") and stderr[:-1].isprintable()):
        return "no line that says what is at fault"
    steering = {each for each in printed if not (each.isprintable() or each == "\n")}
    return f"prints {sorted(steering)}" if steering else ""


def answer(command: str, folder: Path, content: bytes) -> str:
    """Run a command in this process, and return what is wrong with its answer; empty if nothing is."""
    done = CliRunner().invoke(main, words(command, folder, content))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return repr(done.exception)
    return wrong(command, done.exit_code, done.stdout, done.stderr)


def answer_of_process(command: str, folder: Path, content: bytes) -> str:
    """Run a command in a process of its own, and return what is wrong with its answer; empty if nothing is."""
    called = [sys.executable, "-P", "-m", "conformance", *words(command, folder, content)]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    return wrong(command, done.returncode, done.stdout, done.stderr)


def search(files: int, processes: int, first: int = 0, *, sparing: bool = False) -> list[str]:
    """
    Send `files` files through every command and `processes` files through processes; return a line for each fault.

    If `sparing`, a slow command gets one file of several; `EVERY` has the numbers.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(first, first + files):
            content = changed(seed)
            for command in COMMANDS:
                if sparing and seed % EVERY.get(command, 1):
                    continue
                if fault := answer(command, folder, content):
                    found.append(f"{seed}: {command}: {fault}")
                    INPUTS.mkdir(parents=True, exist_ok=True)
                    (INPUTS / f"results-{seed}.jsonl").write_bytes(content)
        for seed in range(first, first + processes):
            command = list(COMMANDS)[seed % len(COMMANDS)]
            if fault := answer_of_process(command, folder, changed(seed)):
                found.append(f"{seed}: {command}, in a process of its own: {fault}")
    return found


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    wrongs = search(*(given or [FILES, PROCESSES]))
    print(*wrongs, f"{len(wrongs)} answers are wrong", sep="\n")
    sys.exit(bool(wrongs))
