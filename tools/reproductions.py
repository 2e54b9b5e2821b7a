"""
Runs the script of every diverging and red cell of a results file, and checks that each shows what its record reports.

`python -m tools.reproductions RESULTS [GLOB]` prints the counts by implementation, and every script that shows
something else. The exit code is 1 if there is such a script, or if none ran. Scripts run in processes of their own.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.adapters.registry import select
from conformance.results import CellRecord, read
from conformance.run.reproduce.recorded_cells import case_of, question_of
from conformance.run.reproduce.symptom import NotReproducible, Symptom, symptom_of
from conformance.run.reproduce.writer import script

RUNNER = Path(__file__).parent / "scripts.py"
#: The most seconds that the scripts of one process take together.
DEADLINE = 900


@dataclass(frozen=True, kw_only=True)
class Task:
    """A script, and the symptom that it has to show."""

    name: str
    text: str
    symptom: Symptom | None
    record: CellRecord

    @property
    def environment(self) -> tuple[str, ...]:
        """The lines that set environment variables; scripts with equal lines share a process."""
        return tuple(line for line in self.text.splitlines() if line.startswith("os.environ["))


def tasks(records: Iterable[CellRecord]) -> Iterator[Task]:
    """Yield the script of every red or diverging record; a record without a script gets one."""
    for record in records:
        if record.outcome in ("conforms", "unsupported", "not_run") or record.question is None:
            continue
        case = case_of(record.question)
        question = question_of(case, record.device)
        implementation = select([record.implementation])[0]
        text = record.reproduce or script(record, question, case=case, implementation=implementation)
        try:
            sign = None if question is None else symptom_of(record, question)
        except NotReproducible:
            sign = None
        yield Task(name=f"{record.implementation}/{record.case}", text=text, symptom=sign, record=record)


def run(chosen: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Return the result of each script by name. Crashes run alone; other scripts share a process."""
    groups: dict[tuple[str, ...], list[Task]] = defaultdict(list)
    for each in chosen:
        alone = each.symptom is not None and each.symptom.kind == "crash"
        groups[(each.record.implementation, *each.environment, each.name if alone else "")].append(each)
    found = {}
    for group in groups.values():
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for number, each in enumerate(group):
                path = Path(folder, f"{number}.py")
                path.write_text(each.text, encoding="utf-8")
                paths[path.name] = each.name
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
            done = subprocess.run(
                [sys.executable, str(RUNNER), *(str(Path(folder, name)) for name in paths)],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
                cwd=folder,
                env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
            for line in done.stdout.splitlines():
                if line.startswith('{"script": '):
                    output = json.loads(line)
                    found[paths[output["script"]]] = output
            for name in paths.values():
                found.setdefault(
                    name, {"printed": "", "raised": "", "ended": f"{done.returncode}: {done.stderr[-300:]}"}
                )
    return found


def fault(task: Task, result: Mapping[str, str]) -> str | None:
    """Return how the result of a script differs from its record, or None if it does not."""
    sign = task.symptom
    if sign is None:
        return None if "There is no script for" in task.text else "the record holds nothing to show"
    if sign.kind == "crash":
        return None if "ended" in result else "it did not crash"
    if "ended" in result:
        return f"the process ended: {result['ended']}"
    if sign.kind == "raises":
        expected = _alike(sign.observed if sign.check != "refusal" else result["raised"])
        if result["raised"] and _alike(result["raised"]) == expected:
            return None
        return f"raised {result['raised'] or 'nothing'}"
    if result["raised"]:
        return f"raised {result['raised']}"
    got = result["printed"].rpartition("\ngot ")[2].strip()
    if sign.kind in ("value", "gradient"):
        return _number_fault(task, sign, got)
    word = _observed_word(sign)
    return None if word in got else f"got {got!r}, which has no {word!r}"


def _number_fault(task: Task, sign: Symptom, got: str) -> str | None:
    """Return how a number differs from the recorded one by more than half of the recorded error, or None."""
    found = next(each for each in task.record.checks if each.check == sign.check)
    assert found.got is not None
    assert found.exact is not None
    reported, exact, now = float(found.got), float(found.exact), float(got)
    if math.isfinite(reported) and math.isfinite(exact):
        # A check may compare the sum of two answers with another sum, so only the error counts.
        near = abs(now - reported) <= abs(reported - exact) / 2
    else:
        near = now == reported or (math.isnan(now) and math.isnan(reported))
    return None if near else f"got {now!r}, and {reported!r} was reported where {exact!r} is right"


def _observed_word(sign: Symptom) -> str:
    """Return the word of the observation that the output of a script must contain."""
    named = re.search(r"(?:is|of dtype|gradients of dtype) \[?'?(\w+)'?\]?, expected", sign.observed)
    if sign.kind == "gradients":
        return sign.observed.rpartition(" ")[2]
    if sign.kind == "parameters" and named:
        return named[1]
    shape = re.search(r"\([\d, ]*\)", sign.observed)
    return shape[0] if shape else sign.observed


def _alike(raised: str) -> str:
    """Return the text of an exception without what differs between calls: numbers of layers and module names."""
    first = raised.strip().splitlines()[0]
    kind, _, message = first.partition(": ")
    return f"{kind.rpartition('.')[2]}: " + re.sub(r"dense(_\d+)?|'[^']*'|\"[^\"]*\"", "_", message)


def main(results: Path, pattern: str) -> int:
    """Run the scripts of a results file, print the counts, return the exit code."""
    cells = [each for each in read(results).cells if fnmatch.fnmatchcase(each.implementation, pattern)]
    chosen = list(tasks(cells))
    outputs = run(chosen)
    good: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for each in chosen:
        why = fault(each, outputs[each.name])
        (good if why is None else faults)[each.record.implementation] += 1
        if why is not None:
            print(f"{each.name}: {why}")
    for name in sorted(good | faults):
        print(f"{name:<28} {good[name]} scripts show what was reported, {faults[name]} do not")
    longest = max((each.text.count("\n") for each in chosen), default=0)
    print(f"{good.total()} of {len(chosen)} scripts show what was reported; the longest has {longest} lines")
    return 1 if faults or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "*"))
