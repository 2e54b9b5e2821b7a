"""One cell from case to record: the question, the answers of the process, and the verdict under the ledger."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import msgspec

from conformance.adapters.installation import missing_text
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, questions_of
from conformance.checks.question import Question
from conformance.checks.references import forget_questions
from conformance.checks.verdict import Trial
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.step import Surroundings, model_steps
from conformance.reference.lanes.draws import NoDraw
from conformance.results import OUTCOMES, CellRecord
from conformance.run.cell_record import judged_record, start_failure_record, unjudged_record
from conformance.run.implementation_process import ImplementationProcess, ProcessOptions
from conformance.run.instruction_set import missing_features, with_limit
from conformance.sandbox.environment import cpu_features
from conformance.sandbox.sandbox import Respondent, StartError
from conformance.sandbox.steps import Build, Hello, SetWeights, Step, Transcript


class Runner:
    """
    Runs cells one after the other, with one running process at a time.

    Args:
        behaviours: the declared behaviours.
        draws: how many questions a cell has, each with other values.
        caches_questions: whether a question is cached for the next implementation. With one implementation a cache
            only takes memory and time of the garbage collector.
        processes: how processes are run.
    """

    def __init__(
        self,
        *,
        behaviours: Sequence[Behaviour] = (),
        draws: int = 1,
        caches_questions: bool = True,
        processes: ProcessOptions | None = None,
    ) -> None:
        options = processes or ProcessOptions()
        self._behaviours = tuple(behaviours)
        self._draws = draws
        self._caches_questions = caches_questions
        self._cpu_isa = options.cpu_isa
        self._processes = ImplementationProcess(options)
        self._behaviours_by_implementation: dict[str, tuple[Behaviour, ...]] = {}
        self._missing_packages: dict[str, str] = {}
        self._greeted: set[str] = set()
        self._last_transcript: Transcript | None = None

    def run(self, cell: Cell) -> CellRecord:
        """
        Return the record of one cell.

        Its field `start` is the time that the cell waited for its process (seconds), if it started one.
        """
        started = time.perf_counter()
        cell = replace(cell, implementation=with_limit(cell.implementation, self._cpu_isa))
        missing = self._missing_packages_of(cell.implementation)
        record = unjudged_record(cell, "not_run", f"not installed: {missing}") if missing else self._record(cell)
        seconds = round(time.perf_counter() - started, 6)
        waited = self._processes.take_start_seconds()
        if not self._caches_questions:
            forget_questions()
        start = None if waited is None else round(waited, 6)
        return msgspec.structs.replace(record, seconds=seconds, start=start)

    @property
    def hellos(self) -> Mapping[str, Hello]:
        """The greeting of the first process of each implementation, by the implementation's name."""
        return self._processes.hellos

    def new_hello(self, implementation: str) -> Hello | None:
        """Return the greeting of an implementation's process the first time that it is there, else None."""
        hello = self.hellos.get(implementation)
        if hello is None or implementation in self._greeted:
            return None
        self._greeted.add(implementation)
        return hello

    @property
    def last_transcript(self) -> Transcript | None:
        """The transcript of the last question, for callers that compare implementations with each other."""
        return self._last_transcript

    @property
    def generation(self) -> int:
        """The number of the current process; two cells with the same number ran in the same process."""
        sandbox = self._processes.sandbox
        return 0 if sandbox is None else sandbox.generation

    def close(self) -> None:
        """End the current process, if any."""
        self._processes.close()

    def _missing_packages_of(self, implementation: Implementation) -> str:
        """Return the names of the packages that are not installed. Cached, because a run installs none."""
        if implementation.name not in self._missing_packages:
            missing = implementation.missing_packages()
            self._missing_packages[implementation.name] = missing_text(missing) if missing else ""
        return self._missing_packages[implementation.name]

    def _missing_instruction_set(self) -> str | None:
        """Return why this machine cannot run the requested instruction set, None if it can."""
        missing = () if self._cpu_isa is None else missing_features(self._cpu_isa, cpu_features())
        return f"--cpu-isa {self._cpu_isa}: the processor lacks {', '.join(missing)}" if missing else None

    def _record(self, cell: Cell) -> CellRecord:
        """Return the record of a cell whose implementation is installed, without its times."""
        reason = _unmet_need(cell) or self._missing_instruction_set()
        if reason is not None:
            return unjudged_record(cell, "not_run", reason)
        if cell.unsupported is not None:
            return unjudged_record(cell, "unsupported", cell.unsupported)
        try:
            respondent = self._processes.process_of(cell.implementation)
        except StartError as error:
            return start_failure_record(cell, error)
        hello = self.hellos[cell.implementation.name]
        if cell.device not in hello.devices:
            devices = ", ".join(hello.devices)
            return unjudged_record(
                cell, "not_run", f"no {cell.device} is visible to the framework, which has: {devices}"
            )
        try:
            questions = questions_of(cell, self._draws)
        except (NoDraw, NotImplementedError) as error:
            return unjudged_record(cell, "not_run", f"no values can be drawn: {error}")
        worst: CellRecord | None = None
        for question in questions:
            try:
                transcript = self._transcript(cell, question, respondent)
            except StartError as error:  # a new process after a crash at the draw before, or after too much memory
                return start_failure_record(cell, error)
            self._last_transcript = transcript
            record = self._judged_record(cell, question, transcript)
            if worst is None or OUTCOMES.index(record.outcome) < OUTCOMES.index(worst.outcome):
                worst = record
        assert worst is not None, "draws is at least 1"
        return worst

    def _transcript(self, cell: Cell, question: Question, respondent: Respondent) -> Transcript:
        """
        Return the transcript of a question.

        Steps for which a behaviour declares a crash, or an effect on later calls, run last. The process is replaced
        after them even if it survives, because a damaged heap could change the answers of other rows. A crash as
        declared is not investigated; any other is.
        """
        around = self._surroundings(cell)
        replacing = [each for each in self._behaviours_of(cell.implementation.name) if each.replaces_process]
        steps = model_steps(question.steps) if replacing else ()
        # The declared signals of each step that runs last; none for an effect on later calls.
        last: dict[str, set[str]] = {}
        for step in steps:
            for each in replacing:
                if each.covered_layers(step, around, cell.case.id):
                    last.setdefault(step.label, set()).update(each.instead.crashes)
        sandbox = self._processes.sandbox
        if not last or sandbox is None:
            return respondent.run_steps(question.steps, name=cell.case.id)
        ordered = steps_with_last(question.steps, last.keys())
        transcript = sandbox.run_steps(ordered, name=cell.case.id)
        crash = transcript.crash
        if crash is not None and not any(signal in crash.reason for signal in last.get(crash.label, ())):
            transcript = respondent.run_steps(ordered, name=cell.case.id)
        sandbox.close()
        return transcript

    def _behaviours_of(self, implementation: str) -> Sequence[Behaviour]:
        """Return the behaviours of an implementation. Cached, because an implementation has many cells."""
        if implementation not in self._behaviours_by_implementation:
            self._behaviours_by_implementation[implementation] = of_implementation(self._behaviours, implementation)
        return self._behaviours_by_implementation[implementation]

    def _surroundings(self, cell: Cell) -> Surroundings:
        return Surroundings(
            device=cell.device,
            environment=cell.implementation.environment,
            versions=self.hellos[cell.implementation.name].versions,
        )

    def _judged_record(self, cell: Cell, question: Question, transcript: Transcript) -> CellRecord:
        """Return the record of a transcript, judged under the ledger."""
        behaviours = self._behaviours_of(cell.implementation.name)
        verdict = Trial(cell, question, transcript, behaviours, self._surroundings(cell)).verdict()
        return judged_record(cell, question, verdict, transcript)


def steps_with_last(steps: Sequence[Step], labels: Set[str]) -> tuple[Step, ...]:
    """
    Return the steps with those of some labels last.

    After a step that builds or changes a model and is moved, all further steps of that model are moved too.
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


def _unmet_need(cell: Cell) -> str | None:
    """Return why the machine does not meet the need of a row, None if it does."""
    mac = platform.system() == "Darwin"
    there = {
        "cuda": cell.device == "gpu" and not mac,
        "mps": cell.device == "gpu" and mac,
        "arm": platform.machine().lower() in ("arm64", "aarch64"),
    }
    need = cell.case.needs
    return (
        None if need is None or there[need] else f"the row needs {need}; this is {cell.device} on {platform.machine()}"
    )
