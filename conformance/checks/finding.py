"""
Findings of checks, and the evidence from which a check makes its finding.

Missing evidence is a violation: a step that raised, that the model declined or that was never reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeVar

from conformance.ledger.expectation import Expectation
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Declined, Malformed, Raised, Reply, Transcript, Unreached
from conformance.text import shortened

CONFORMS: Final = "conforms"
VIOLATES: Final = "violates"
UNSUPPORTED: Final = "unsupported"
#: Characters of an exception's message that a record keeps, at the beginning and at the end each.
END_OF_MESSAGE: Final = 4000
#: The kind of answer that a check looks at.
Kind = TypeVar("Kind")
Gradient = Literal["dx", "dW", "db"]


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of an array with its enclosure."""

    index: tuple[int, ...]
    got: float
    exact: float
    allowed: float


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Why a check has no evidence."""

    #: The reason of the model for declining, None for another cause.
    declined: str | None = None
    #: Whether the process ended before the step.
    unreached: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """The array that a finding is about."""

    #: The array that was compared: a step, or a result of it.
    where: str | None = None
    #: The label of the step.
    step: str | None = None
    #: The gradient of `step`: dx, dW or db, the latter two of the layer with index `layer`.
    gradient: Gradient | None = None
    layer: int | None = None


@dataclass(frozen=True, kw_only=True)
class Finding(Place):
    """The result of one check for one cell."""

    check: str
    outcome: str = CONFORMS
    message: str | None = None
    expected: object = None
    observed: object = None
    #: The largest error over the allowed error, element by element.
    margin: float | None = None
    #: The element that has the margin.
    worst: Element | None = None
    #: The class of the bound.
    line: str | None = None
    #: Step, type, message and module of the exception that the framework raised.
    raised: Mapping[str, str] | None = None
    #: Set if the check has no evidence.
    absence: Absence | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def declined(self) -> str | None:
        """The reason of the model for declining."""
        return None if self.absence is None else self.absence.declined

    def at(self, step: str, gradient: Gradient | None = None, layer: int | None = None) -> Finding:
        """Return the finding with the step that it is about, or with one gradient of that step."""
        return replace(self, step=step, gradient=gradient, layer=layer)

    def record(self) -> dict[str, object]:
        """Return the finding as results files have it: no field is None or empty, only a violation names its step."""
        left_out = ("absence",) if self.outcome == VIOLATES else ("absence", "step", "gradient", "layer")
        content: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, Element):
                content |= {"worst": value.index, "got": value.got, "exact": value.exact, "allowed": value.allowed}
            elif name not in left_out:
                content[name] = value
        content["unreached"] = True if self.absence is not None and self.absence.unreached else None
        return {name: value for name, value in content.items() if value is not None and value != {}}


class Missing(Exception):
    """A check has no evidence. `finding` is the violation."""

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
    """The replies to one question, and what each should be."""

    transcript: Transcript
    expected: Expected
    #: The import names of the framework. One of them must raise a declared refusal.
    packages: Sequence[str] = ()

    def get(self, check: str, label: str, kind: type[Kind]) -> Kind | None:
        """
        Return the answer to a step, None if it is declared that there is none.

        Args:
            check: the name of the check.
            label: the label of the step.
            kind: the type of the answer.

        Raises:
            Missing: there is no answer of this type. Its finding is a violation of the check.
        """
        expectation = self.expected.of(label)
        reply = self.transcript.replies.get(label)
        if reply is None:
            if self.crashed_as_declared:
                return None
            message = f"no evidence: {label} was never reached"
            raise Missing(Finding(check=check, outcome=VIOLATES, message=message, absence=Absence(unreached=True)))
        if is_refused_as_declared(reply, expectation, self.packages):
            return None
        if isinstance(reply.answer, Unreached):
            cause = self.transcript.replies.get(reply.answer.because)
            if cause is not None and is_refused_as_declared(cause, self.expected.of(cause.label), self.packages):
                return None
        if not isinstance(reply.answer, kind):
            raise Missing(_absence(check, reply, self.transcript))
        if expectation.ends:
            names = ", ".join(expectation.behaviours)
            message = (
                f"{label} answered, where {names} declares {expectation.refuses or ' or '.join(expectation.crashes)}"
            )
            raise Missing(Finding(check=check, outcome=VIOLATES, message=message))
        return reply.answer

    def answers(
        self, check: str, labels: Iterable[str], kind: type[Kind], findings: list[Finding]
    ) -> Iterator[tuple[str, Kind]]:
        """Yield the label and the answer of each step, and add a finding for each missing answer to `findings`."""
        for label in labels:
            try:
                answer = self.get(check, label, kind)
            except Missing as missing:
                findings.append(missing.finding)
                continue
            if answer is not None:
                yield label, answer

    def is_any_undefined(self, labels: Iterable[str]) -> bool:
        """Return whether the values of one of these outputs are declared to be undefined."""
        return any("output" in self.expected.of(label).undefined for label in labels)

    @property
    def crashed_as_declared(self) -> bool:
        """Return whether the process ended at a step, and by a signal, as declared."""
        crash = self.transcript.crash
        if crash is None or self.transcript.timed_out:
            return False
        return any(signal in crash.reason for signal in self.expected.of(crash.label).crashes)


def is_refused_as_declared(reply: Reply, expectation: Expectation, packages: Sequence[str]) -> bool:
    """Return whether a step raised the declared exception, inside a package of the framework if it must."""
    raised = reply.answer
    if expectation.refuses is None or not isinstance(raised, Raised):
        return False
    inside = expectation.refuses.by_adapter or raised_inside(raised.modules, packages)
    return inside and expectation.refuses.is_raised(raised.type, raised.message)


def raised_inside(modules: Sequence[str], packages: Sequence[str]) -> bool:
    """Return whether the frames of a traceback below the last of the suite's own include one of the framework's."""
    tops = [module.partition(".")[0] for module in modules]
    ours = [index for index, top in enumerate(tops) if top == "conformance"]
    below = tops[ours[-1] + 1 :] if ours else tops
    return any(top in packages for top in below)


def _absence(check: str, reply: Reply, transcript: Transcript) -> Finding:
    """Return the violation of a check without evidence, with the exception that is the cause."""
    answer = reply.answer
    if isinstance(answer, Unreached):
        cause = transcript.replies.get(answer.because)
        if cause is not None and not isinstance(cause.answer, Unreached):
            return _absence(check, cause, transcript)
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
    """Return the record of an exception: stage, step, type, message and the module that raised it."""
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
