"""
Runs the script of every diverging and red cell of a results file, and holds that each shows what its record says.

`python -m tools.reproductions RESULTS [GLOB]` prints the counts by implementation, and every script that shows
something else; exit code 1 where one does, or where none was run. Frameworks are imported by the scripts alone, in
processes of their own.
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
from conformance.run.reproduce.recorded_cells import asked, case_of
from conformance.run.reproduce.symptom import NotShown, Symptom, symptom
from conformance.run.reproduce.writer import script

RUNNER = Path(__file__).parent / "scripts.py"
#: Seconds that the scripts of one process may take together.
DEADLINE = 900


@dataclass(frozen=True, kw_only=True)
class Task:
    """A script, and what it has to show."""

    name: str
    text: str
    symptom: Symptom | None
    record: CellRecord

    @property
    def environment(self) -> tuple[str, ...]:
        """The lines that set variables: scripts of the same ones may share a process."""
        return tuple(line for line in self.text.splitlines() if line.startswith("os.environ["))


def tasks(records: Iterable[CellRecord]) -> Iterator[Task]:
    """Yield the script of every record that shows something, written anew where the record holds none."""
    for record in records:
        if record.outcome in ("conforms", "unsupported", "not_run") or record.question is None:
            continue
        case = case_of(record.question)
        question = asked(case, record.device)
        implementation = select([record.implementation])[0]
        text = record.reproduce or script(record, question, case=case, implementation=implementation)
        try:
            shown = None if question is None else symptom(record, question)
        except NotShown:
            shown = None
        yield Task(name=f"{record.implementation}/{record.case}", text=text, symptom=shown, record=record)


def run(chosen: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Return what each script showed, by name; crashes run alone, others share the process of their environment."""
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
                    told = json.loads(line)
                    found[paths[told["script"]]] = told
            for name in paths.values():
                found.setdefault(
                    name, {"printed": "", "raised": "", "ended": f"{done.returncode}: {done.stderr[-300:]}"}
                )
    return found


def fault(task: Task, told: Mapping[str, str]) -> str | None:
    """Return why what a script showed is not what its record says, None where it is."""
    shown = task.symptom
    if shown is None:
        return None if "There is no script for" in task.text else "the record holds nothing to show"
    if shown.kind == "crash":
        return None if "ended" in told else "it did not crash"
    if "ended" in told:
        return f"the process ended: {told['ended']}"
    if shown.kind == "raises":
        expected = _alike(shown.observed if shown.check != "refusal" else told["raised"])
        return (
            None if told["raised"] and _alike(told["raised"]) == expected else f"raised {told['raised'] or 'nothing'}"
        )
    if told["raised"]:
        return f"raised {told['raised']}"
    got = told["printed"].rpartition("\ngot ")[2].strip()
    if shown.kind in ("value", "gradient"):
        return _number_fault(task, shown, got)
    seen = _seen(shown)
    return None if seen in got else f"got {got!r}, which has no {seen!r}"


def _number_fault(task: Task, shown: Symptom, got: str) -> str | None:
    """Return how a number is another than the one on record: off by more than half of the error seen there."""
    found = next(each for each in task.record.checks if each.check == shown.check)
    assert found.got is not None
    assert found.exact is not None
    reported, exact, now = float(found.got), float(found.exact), float(got)
    if math.isfinite(reported) and math.isfinite(exact):
        # The sum of two answers may be compared with another sum; what counts is how far it is off.
        near = abs(now - reported) <= abs(reported - exact) / 2
    else:
        near = now == reported or (math.isnan(now) and math.isnan(reported))
    return None if near else f"got {now!r}, and {reported!r} was reported where {exact!r} is right"


def _seen(shown: Symptom) -> str:
    """Return the word of what was observed that has to stand in what a script prints."""
    named = re.search(r"(?:is|of dtype|gradients of dtype) \[?'?(\w+)'?\]?, expected", shown.observed)
    if shown.kind in ("parameters", "gradients") and named:
        return named[1]
    shape = re.search(r"\([\d, ]*\)", shown.observed)
    return shape[0] if shape else shown.observed


def _alike(raised: str) -> str:
    """Return an exception as text without what differs from call to call: the numbers of layers, module names."""
    first = raised.strip().splitlines()[0]
    kind, _, message = first.partition(": ")
    return f"{kind.rpartition('.')[2]}: " + re.sub(r"dense(_\d+)?|'[^']*'|\"[^\"]*\"", "_", message)


def main(results: Path, pattern: str) -> int:
    """Run the scripts of a results file, print the counts, return the exit code."""
    cells = [each for each in read(results).cells if fnmatch.fnmatchcase(each.implementation, pattern)]
    chosen = list(tasks(cells))
    told = run(chosen)
    good: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for each in chosen:
        why = fault(each, told[each.name])
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
