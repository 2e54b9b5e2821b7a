"""
One cell from case to result: asks an implementation's process, holds the answers to the reference, applies the ledger.

The test function at the end is what pytest runs, in a checkout and from the wheel alike.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from conformance.adapters.installation import told_missing
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, questions_of
from conformance.checks.finding import CONFORMS
from conformance.checks.outcome import Verdict
from conformance.checks.question import Question, forget_questions
from conformance.checks.verdict import Trial
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.step import Surroundings, asked_steps
from conformance.reference.lanes.draws import NoDraw
from conformance.results import FAILING, NO_SCRIPT, OUTCOMES, UNJUDGED, finite
from conformance.results.behaviours import gone_in, near
from conformance.run.instruction_set import lacking, limited
from conformance.sandbox.environment import cpu_features
from conformance.sandbox.sandbox import InProcess, Investigator, Limits, Respondent, Sandbox, StartError
from conformance.sandbox.steps import Build, Hello, SetWeights, Step, Transcript

#: Where JAX keeps what it compiled; the sandbox keys it by version.
DEFAULT_CACHE: Final = Path("~/.cache/dense-conformance")

#: How often in a row a process may fail to start that was up before.
TRIES: Final = 3
#: A script beyond this is left out of a record; `conformance reproduce` writes it all the same.
MOST_BYTES_OF_A_SCRIPT: Final = 20_000

#: What one process is for: an implementation's name, and its environment.
Process = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Runner:
    """
    Runs cells one after the other, holding one implementation's process at a time.

    `draws` says how often each question is asked, with other values each time. A process that does not start is not
    tried again: every cell of its implementation says why. One that was up before is, since that may pass, until it
    has failed `TRIES` times in a row. `cpu_isa` names the instruction set that processes are limited to, None for the
    processor's own. With `keeps_questions` a question is kept for the next implementation;
    where there is none, that would take memory, and time to look through it for garbage.
    """

    behaviours: Sequence[Behaviour] = ()
    threads: int = 1
    draws: int = 1
    in_process: bool = False
    keeps_questions: bool = True
    limits: Limits = field(default_factory=Limits)
    cache: Path | None = None
    cpu_isa: str | None = None
    _respondent: Respondent | None = None
    _sandbox: Sandbox | None = None
    _held: Process | None = None
    _failed: dict[Process, StartError] = field(default_factory=dict)
    _tries: Counter[Process] = field(default_factory=Counter)
    _waited: float | None = None
    _covering: dict[str, tuple[Behaviour, ...]] = field(default_factory=dict)
    _lacking_packages: dict[str, str] = field(default_factory=dict)
    #: What the last question came to, for those who compare implementations with one another.
    transcript: Transcript | None = None
    hellos: dict[str, Hello] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)

    def run(self, cell: Cell) -> dict[str, Any]:
        """
        Return the record of one cell, as it is written to the results file.

        `start` in it says how long the cell waited for its process, where it was the first that needed it (seconds).
        """
        started = time.perf_counter()
        self._waited = None
        cell = replace(cell, implementation=limited(cell.implementation, self.cpu_isa))
        missing = self._missing(cell.implementation)
        outcome = _unjudged("not_run", f"not installed: {missing}") if missing else self._outcome(cell)
        case = cell.case
        record = {
            "case": case.id,
            "implementation": cell.implementation.name,
            "device": cell.device,
            **outcome,
            "seconds": round(time.perf_counter() - started, 6),
            "start": None if self._waited is None else round(self._waited, 6),
            "row": case.row,
            "question": dict(case.question),
            "why": case.why,
            "source": case.source,
        }
        content: dict[str, Any] = finite({key: value for key, value in record.items() if value is not None})
        if not self.keeps_questions:
            forget_questions()
        return content

    @property
    def generation(self) -> int:
        """How many processes the sandbox held has had: of two cells with the same number one had both."""
        return 0 if self._sandbox is None else self._sandbox.generation

    def close(self) -> None:
        """End the process held, if any."""
        if self._respondent is not None:
            self._respondent.close()
        self._respondent = self._sandbox = self._held = None

    def _missing(self, implementation: Implementation) -> str:
        """Return the names of the packages that are not installed, looked for once: a run installs none."""
        if implementation.name not in self._lacking_packages:
            missing = implementation.missing_packages()
            self._lacking_packages[implementation.name] = told_missing(missing) if missing else ""
        return self._lacking_packages[implementation.name]

    def _lacking_features(self) -> str | None:
        """Return why this machine cannot keep to the instruction set asked for, None where it can."""
        missing = () if self.cpu_isa is None else lacking(self.cpu_isa, cpu_features())
        return f"--cpu-isa {self.cpu_isa}: the processor lacks {', '.join(missing)}" if missing else None

    def _outcome(self, cell: Cell) -> dict[str, Any]:
        """Return outcome, checks and what explains them."""
        reason = _lacking(cell) or self._lacking_features()
        if reason is not None:
            return _unjudged("not_run", reason)
        if cell.unsupported is not None:
            return _unjudged("unsupported", cell.unsupported)
        try:
            respondent = self._hold(cell.implementation)
        except StartError as error:
            return _not_started(cell, error)
        hello = self.hellos[cell.implementation.name]
        if cell.device not in hello.devices:
            devices = ", ".join(hello.devices)
            return _unjudged("not_run", f"no {cell.device} is visible to the framework, which has: {devices}")
        try:
            questions = questions_of(cell, self.draws)
        except (NoDraw, NotImplementedError) as error:
            return _unjudged("not_run", f"no values can be drawn: {error}")
        worst: dict[str, Any] | None = None
        for asked in questions:
            try:
                transcript = self._asked(cell, asked, respondent)
            except StartError as error:  # in place of a process that crashed at the draw before, or had grown
                return _not_started(cell, error)
            self.transcript = transcript
            judged = self._judge(cell, asked, transcript)
            if worst is None or OUTCOMES.index(judged["outcome"]) < OUTCOMES.index(worst["outcome"]):
                worst = judged
        assert worst is not None, "draws is at least 1"
        return worst

    def _hold(self, implementation: Implementation) -> Respondent:
        """Return the running process of an implementation, ending that of another first."""
        name = implementation.name
        process = (name, tuple(sorted(implementation.environment.items())))
        if process in self._failed:
            raise self._failed[process]
        fresh = self._held != process
        if fresh:
            self.close()
            if self.in_process:
                self._respondent = InProcess(implementation, threads=self.threads, cache=self.cache)
            else:
                self._sandbox = Sandbox(implementation, limits=self.limits, threads=self.threads, cache=self.cache)
                self._respondent = Investigator(self._sandbox)
            self._held = process
        assert self._respondent is not None
        try:
            asked = time.perf_counter()
            # What a process with a row's own switches says of itself stands for no other.
            self.hellos.setdefault(name, self._respondent.start())
            if fresh:
                self._waited = time.perf_counter() - asked
        except StartError as error:
            self._tries[process] -= 1
            if self._tries[process] <= 0:
                self._failed[process] = error
            self.close()
            raise
        self._tries[process] = TRIES
        return self._respondent

    def _asked(self, cell: Cell, asked: Question, respondent: Respondent) -> Transcript:
        """
        Return what came of a question.

        Steps of which a declared behaviour ends the process, or outlives its call, are asked last, and the process is
        replaced after them even where it survived: a damaged heap answers for other rows. A crash that is as declared
        is not looked into again on every run; any other is.
        """
        around = self._surroundings(cell)
        replacing = [each for each in self._behaviours_of(cell.implementation.name) if each.replaces_process]
        steps = asked_steps(asked.steps) if replacing else ()
        # The signals that are declared of each step that is asked last; of one that outlives its call there is none.
        last: dict[str, set[str]] = {}
        for step in steps:
            for each in replacing:
                if each.covers(step, around, cell.case.id):
                    last.setdefault(step.label, set()).update(each.instead.crashes)
        if not last or self._sandbox is None:
            return respondent.ask(asked.steps, name=cell.case.id)
        ordered = asked_last(asked.steps, last.keys())
        transcript = self._sandbox.ask(ordered, name=cell.case.id)
        crash = transcript.crash
        if crash is not None and not any(signal in crash.reason for signal in last.get(crash.label, ())):
            transcript = respondent.ask(ordered, name=cell.case.id)
        self._sandbox.close()
        return transcript

    def _behaviours_of(self, implementation: str) -> Sequence[Behaviour]:
        """Return the behaviours of an implementation: few of them, where cells are many."""
        if implementation not in self._covering:
            self._covering[implementation] = of_implementation(self.behaviours, implementation)
        return self._covering[implementation]

    def _surroundings(self, cell: Cell) -> Surroundings:
        return Surroundings(
            device=cell.device,
            environment=cell.implementation.environment,
            versions=self.hellos[cell.implementation.name].versions,
        )

    def _judge(self, cell: Cell, asked: Question, transcript: Transcript) -> dict[str, Any]:
        """Return what a transcript amounts to, the ledger applied."""
        behaviours = self._behaviours_of(cell.implementation.name)
        verdict = Trial(cell, asked, transcript, behaviours, self._surroundings(cell)).verdict()
        content = _told(verdict)
        if transcript.crash is not None:
            content["crash"] = {
                "step": transcript.crash.label,
                "reason": transcript.crash.reason,
                "stderr": transcript.crash.stderr,
                "notes": list(transcript.notes),
            }
            culprit = getattr(transcript, "culprit", None)
            if culprit is not None:
                content["crash"]["culprit"] = list(culprit.names)
        content["steps"] = {label: round(reply.seconds, 6) for label, reply in transcript.replies.items()}
        return content | _reproduced(cell, content, asked)


def _told(verdict: Verdict) -> dict[str, Any]:
    """Return the fields of a record that a verdict makes; what says nothing is left out."""
    content: dict[str, Any] = {
        "outcome": verdict.outcome,
        "checks": list(verdict.checks),
        "reason": verdict.reason,
        "divergence": verdict.divergence,
        "covered": list(verdict.covered),
        "behaviours": list(verdict.behaviours),
        "gone": list(verdict.gone),
        "widths": dict(verdict.widths),
        "powerless": None if verdict.has_power else True,
    }
    return {name: value for name, value in content.items() if name == "checks" or value not in (None, [], {})}


def asked_last(steps: Sequence[Step], labels: Set[str]) -> tuple[Step, ...]:
    """
    Return the steps with those of some labels last.

    A model that is built or given new weights after one of them has all its further steps behind it.
    """
    moved: set[str] = set()
    changed: set[str] = set()
    first: list[Step] = []
    last: list[Step] = []
    for step in steps:
        if step.label in labels:
            moved.add(step.model)
        if step.model in moved and isinstance(step, Build | SetWeights):
            changed.add(step.model)
        (last if step.label in labels or step.model in changed else first).append(step)
    return (*first, *last)


def _lacking(cell: Cell) -> str | None:
    """Return why the machine cannot show what a row is about, None where it can."""
    mac = platform.system() == "Darwin"
    there = {
        "cuda": cell.device == "gpu" and not mac,
        "mps": cell.device == "gpu" and mac,
        "arm": platform.machine().lower() in ("arm64", "aarch64"),
    }
    need = cell.case.needs
    return (
        None
        if need is None or there[need]
        else f"the row is about {need}, and this is {cell.device} on {platform.machine()}"
    )


def _not_started(cell: Cell, error: StartError) -> dict[str, Any]:
    """Return the outcome of a cell for which there was no process."""
    crash = {"step": "start", "reason": error.reason, "stderr": error.stderr}
    content = {**_unjudged("crashed", f"the process did not start: {error.reason}"), "crash": crash}
    return content | _reproduced(cell, content, None)


def _unjudged(outcome: str, reason: str) -> dict[str, Any]:
    """Return the outcome of a cell of which nothing was observed."""
    return {"outcome": outcome, "checks": [], "reason": reason}


def _reproduced(cell: Cell, content: Mapping[str, Any], asked: Question | None) -> dict[str, str]:
    """Return the field `reproduce` of a record, a script that shows what was seen; none where all is well."""
    if content["outcome"] not in (*FAILING, "diverges"):
        return {}
    # Imported here: a run in which all is well needs neither templates nor their engine.
    from conformance.run.reproduce import script

    named = {"case": cell.case.id, "implementation": cell.implementation.name, "device": cell.device}
    try:
        text = script({**named, **finite(content)}, asked, case=cell.case, implementation=cell.implementation)
    except Exception as error:  # a verdict must not be lost with the script that was to show it
        text = f"{NO_SCRIPT}: {error!r}\n"
    return {"reproduce": text} if len(text.encode()) <= MOST_BYTES_OF_A_SCRIPT else {}


def explanation(record: Mapping[str, Any]) -> str:
    """Return what a person reads when a cell does not conform: each check that does not, or the reason."""
    lines = [f"{record['outcome']}: {record['device']}/{record['implementation']}/{record['case']}  ({record['row']})"]
    if record.get("why"):
        lines.append(f"  why the row is there: {record['why']}")
    if record.get("reason"):
        lines.append(f"  {record['reason']}")
    crash = record.get("crash")
    if crash:
        lines += [f"  note: {each}" for each in crash.get("notes", ())]
        lines += [f"  stderr: {each}" for each in str(crash.get("stderr", "")).strip().splitlines()[-10:]]
    for each in record["checks"]:
        if each["outcome"] != CONFORMS:
            lines.append(f"  {each['check']} {each['outcome']}: {each.get('message', '')}")
            if near(each):
                lines.append(f"    {near(each)}")
            if each.get("divergence"):
                lines.append(f"    known: {each['divergence']['why']} ({each['divergence']['where']})")
    lines += [f"  gone: {each['id']} ({each.get('where')}): {each.get('why')}" for each in gone_in(record)]
    return "\n".join(lines)


def test_dense(cell: Cell, conformance_runner: Runner, request: pytest.FixtureRequest) -> None:
    """Hold one implementation to the rule on one case."""
    record = conformance_runner.run(cell)
    request.node.stash[RECORD] = record
    outcome = record["outcome"]
    if outcome == "diverges":
        # As `pytest.xfail`, but for a traceback of this very line, which takes pytest longer than most cells take.
        raise pytest.xfail.Exception(explanation(record), pytrace=False)
    if outcome in UNJUDGED:
        pytest.skip(str(record.get("reason", outcome)))
    if outcome != CONFORMS:
        pytest.fail(explanation(record), pytrace=False)


#: Where the record of a cell waits for the report of its test.
RECORD: Final = pytest.StashKey[dict[str, Any]]()
