"""
What a check found, and the evidence it is given: the words that checks, suite and ledger have in common.

Evidence that is missing (a step that raised, was declined or never reached) is a violation, not a pass. This module
judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

from conformance.ledger.expectation import Expectation
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Declined, Malformed, Raised, Reply, Transcript, Unreached
from conformance.text import shortened

CONFORMS: Final = "conforms"
VIOLATES: Final = "violates"
UNSUPPORTED: Final = "unsupported"
#: Characters kept of an exception's message, at its beginning and at its end.
END_OF_MESSAGE: Final = 4000
#: The kind of answer that a check looks at.
Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of an array beside its enclosure."""

    index: tuple[int, ...]
    got: float
    exact: float
    allowed: float


@dataclass(frozen=True, kw_only=True)
class Absence:
    """That a step gave no evidence for a check."""

    #: The model's own reason for not answering, None where there is another cause.
    declined: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    outcome: str = CONFORMS
    message: str | None = None
    expected: object = None
    observed: object = None
    #: The largest error over the allowed error, element by element.
    margin: float | None = None
    #: What was compared: a step, or a result of it.
    where: str | None = None
    #: The element that has the margin.
    worst: Element | None = None
    #: The class of the bound.
    line: str | None = None
    #: Step, type, message and module of the exception that the framework raised.
    raised: Mapping[str, str] | None = None
    #: Set where there is no evidence for the check.
    absence: Absence | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def declined(self) -> str | None:
        """The model's own reason for not answering."""
        return None if self.absence is None else self.absence.declined

    def record(self) -> dict[str, Any]:
        """Return the finding as it is written to the results file: what is None or empty is left out."""
        content: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, Element):
                content |= {"worst": value.index, "got": value.got, "exact": value.exact, "allowed": value.allowed}
            elif name != "absence":
                content[name] = value
        return {name: value for name, value in content.items() if value is not None and value != {}}


class Missing(Exception):
    """The evidence for a check is not there; carries the finding that says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class Expected(Protocol):
    """What each step of a question should answer."""

    def of(self, label: str) -> Expectation:
        """Return what the step of a label should answer."""
        ...

    def output(self, label: str) -> Enclosure:
        """Return what encloses the output of a forward step."""
        ...

    def line(self, label: str) -> str:
        """Return the class of the bound of a step."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """
    The replies to one question, beside what each should be.

    `packages` are the import names of the framework: a declared refusal has to come from one of them.
    """

    transcript: Transcript
    expected: Expected
    packages: Sequence[str] = ()

    def get(self, check: str, label: str, kind: type[Kind]) -> Kind | None:
        """
        Return the answer to the step named `label`, None where it is declared that there is none.

        Raises:
            Missing: there is none, or it is not of this kind; its finding is a violation of `check`.
        """
        wanted = self.expected.of(label)
        reply = self.transcript.replies.get(label)
        if reply is None:
            if self.crashed_as_declared:
                return None
            message = f"no evidence: {label} was never reached"
            raise Missing(Finding(check=check, outcome=VIOLATES, message=message, absence=Absence()))
        if is_refused_as_declared(reply, wanted, self.packages):
            return None
        if isinstance(reply.answer, Unreached):
            cause = self.transcript.replies.get(reply.answer.because)
            if cause is not None and is_refused_as_declared(cause, self.expected.of(cause.label), self.packages):
                return None
        if not isinstance(reply.answer, kind):
            raise Missing(_without(check, reply, self.transcript))
        if wanted.ends:
            names = ", ".join(wanted.behaviours)
            message = f"{label} answered, where {names} declares {wanted.refuses or ' or '.join(wanted.crashes)}"
            raise Missing(Finding(check=check, outcome=VIOLATES, message=message))
        return reply.answer

    def answers(
        self, check: str, labels: Iterable[str], kind: type[Kind], findings: list[Finding]
    ) -> Iterator[tuple[str, Kind]]:
        """Yield each answer that arrived with its label, and add a finding for each that is missing."""
        for label in labels:
            try:
                answer = self.get(check, label, kind)
            except Missing as missing:
                findings.append(missing.finding)
                continue
            if answer is not None:
                yield label, answer

    def is_any_undefined(self, labels: Iterable[str]) -> bool:
        """Return whether it is declared of some steps that the values of the output mean nothing."""
        return any("output" in self.expected.of(label).undefined for label in labels)

    @property
    def crashed_as_declared(self) -> bool:
        """Return whether the process ended at a step, and by a signal, as declared."""
        crash = self.transcript.crash
        if crash is None or self.transcript.timed_out:
            return False
        return any(signal in crash.reason for signal in self.expected.of(crash.label).crashes)


def is_refused_as_declared(reply: Reply, wanted: Expectation, packages: Sequence[str]) -> bool:
    """Return whether a step raised the exception that is declared, inside a package of the framework where it must."""
    raised = reply.answer
    if wanted.refuses is None or not isinstance(raised, Raised):
        return False
    inside = wanted.refuses.by_adapter or raised_inside(raised.modules, packages)
    return inside and wanted.refuses.is_raised(raised.type, raised.message)


def raised_inside(modules: Sequence[str], packages: Sequence[str]) -> bool:
    """Return whether the frames of a traceback below the last of the suite's own include one of the framework's."""
    tops = [module.partition(".")[0] for module in modules]
    ours = [index for index, top in enumerate(tops) if top == "conformance"]
    below = tops[ours[-1] + 1 :] if ours else tops
    return any(top in packages for top in below)


def _without(check: str, reply: Reply, transcript: Transcript) -> Finding:
    """Return the violation of a check whose evidence was not given, with the exception that is the cause."""
    answer = reply.answer
    if isinstance(answer, Unreached):
        cause = transcript.replies.get(answer.because)
        if cause is not None and not isinstance(cause.answer, Unreached):
            return _without(check, cause, transcript)
    missing = Finding(check=check, outcome=VIOLATES, absence=Absence())
    if isinstance(answer, Raised):
        message = f"no evidence: {reply.label} raised {answer.type}: {first_line(answer.message)}"
        return replace(missing, message=message, raised=raised_record(reply, answer))
    if isinstance(answer, Declined):
        message = f"no evidence: {reply.label} is not supported: {first_line(answer.reason)}"
        return replace(missing, message=message, absence=Absence(declined=answer.reason))
    if isinstance(answer, Malformed):
        return replace(missing, message=f"no evidence: what {reply.label} gave is no answer: {answer.message}")
    return replace(missing, message=f"no evidence: {reply.label} answered {type(answer).__name__}")


def raised_record(reply: Reply, answer: Raised) -> dict[str, str]:
    """Return what the results file says of an exception: stage, step, type, message and the module that raised it."""
    module = answer.modules[-1] if answer.modules else "?"
    return {
        "stage": reply.stage,
        "step": reply.label,
        "type": answer.type,
        "message": shortened(answer.message, END_OF_MESSAGE),
        "module": module,
    }


def first_line(text: str) -> str:
    """Return the first line of a text, and no more than 200 characters of it."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:199] + "…"
