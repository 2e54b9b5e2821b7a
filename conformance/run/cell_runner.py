"""One cell from case to record: asks an implementation's process, judges its answers, applies the ledger."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from conformance.adapters.installation import told_missing
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, questions_of
from conformance.checks.question import Question
from conformance.checks.references import forget_questions
from conformance.checks.verdict import Trial
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.step import Surroundings, asked_steps
from conformance.reference.lanes.draws import NoDraw
from conformance.results import OUTCOMES
from conformance.run.cell_record import (
    cell_record,
    not_started,
    script_field,
    transcript_fields,
    unjudged,
    verdict_fields,
)
from conformance.run.instruction_set import lacking, limited
from conformance.sandbox.environment import cpu_features
from conformance.sandbox.sandbox import InProcess, Investigator, Limits, Respondent, Sandbox, StartError
from conformance.sandbox.steps import Build, Hello, SetWeights, Step, Transcript

#: Where JAX keeps what it compiled; the sandbox keys it by version.
DEFAULT_CACHE: Final = Path("~/.cache/dense-conformance")
#: How often in a row a process may fail to start that was up before.
TRIES: Final = 3
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
        outcome = unjudged("not_run", f"not installed: {missing}") if missing else self._outcome(cell)
        seconds = time.perf_counter() - started
        record = cell_record(cell, outcome, seconds=seconds, start=self._waited)
        if not self.keeps_questions:
            forget_questions()
        return record

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
            return unjudged("not_run", reason)
        if cell.unsupported is not None:
            return unjudged("unsupported", cell.unsupported)
        try:
            respondent = self._hold(cell.implementation)
        except StartError as error:
            return not_started(cell, error)
        hello = self.hellos[cell.implementation.name]
        if cell.device not in hello.devices:
            devices = ", ".join(hello.devices)
            return unjudged("not_run", f"no {cell.device} is visible to the framework, which has: {devices}")
        try:
            questions = questions_of(cell, self.draws)
        except (NoDraw, NotImplementedError) as error:
            return unjudged("not_run", f"no values can be drawn: {error}")
        worst: dict[str, Any] | None = None
        for asked in questions:
            try:
                transcript = self._asked(cell, asked, respondent)
            except StartError as error:  # in place of a process that crashed at the draw before, or had grown
                return not_started(cell, error)
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
        content = verdict_fields(verdict) | transcript_fields(transcript)
        return content | script_field(cell, content, asked)


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
