"""
Finds the question that causes a crash.

A process that corrupts its memory in one question may end in a later one. A question that crashed is therefore
repeated alone, in a fresh process. If the process survives, the earlier questions of the dead process are repeated
before it, and the shortest list of them that reproduces the crash is searched. The outcome stays a crash; a note names
the questions that cause it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from conformance.adapters.protocol import Array, Stack
from conformance.sandbox.process import StartError
from conformance.sandbox.steps import Build, Differentiate, Forward, Hello, SetWeights, Step, Transcript


class Replaceable(Protocol):
    """A process that `close` ends and that the next question starts again."""

    @property
    def generation(self) -> int:
        """The number of the last process."""
        ...

    @property
    def cost(self) -> float:
        """The cost of its processes, in seconds that do not depend on the load of the machine."""
        ...

    def start(self) -> Hello:
        """Start the process, if it is not running."""
        ...

    def run_steps(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Run the steps of one question."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Culprit:
    """The questions after which another question crashes that does not crash alone."""

    #: Questions that reproduce the crash, in their order.
    names: tuple[str, ...]
    #: Whether none of them can be left out.
    narrowed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class InvestigatedTranscript(Transcript):
    """The transcript of a question that crashed; `culprit` is set if other questions cause the crash."""

    culprit: Culprit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """
    The limits of investigations.

    Time is CPU time of the processes, so that results do not depend on load. A hang counts with its wall time. The
    question that runs when the time is spent still ends.
    """

    #: The most earlier questions of a process.
    questions: int = 200
    #: Size of the arrays of these questions (bytes).
    size: int = 64 * 2**20
    #: Time for one crash (seconds).
    seconds: float = 180.0
    #: Time for all crashes (seconds).
    total: float = 1200.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _SentQuestion:
    name: str
    steps: Sequence[Step]
    size: int


class _OutOfTimeError(Exception):
    """The time of this investigation is spent."""


class Investigator:
    """Runs questions in a sandbox and investigates every crash."""

    def __init__(self, sandbox: Replaceable, *, effort: Effort | None = None) -> None:
        self._sandbox = sandbox
        self._effort = effort or Effort()
        self._remembered: deque[_SentQuestion] = deque()
        self._size = 0
        self._forgotten = 0
        self._generation = sandbox.generation
        self._remaining_time = self._effort.total
        self._allowed = 0.0
        self._cost_before = 0.0

    def start(self) -> Hello:
        """Return the greeting of the process, started if necessary; raises `StartError`."""
        return self._sandbox.start()

    def run_steps(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """
        Return the transcript of `steps`; after a crash, an `InvestigatedTranscript` with notes on its cause.

        Raises:
            StartError: the process did not start.
        """
        question = _SentQuestion(name=name, steps=steps, size=sum(map(_size, steps)))
        transcript = self._sandbox.run_steps(steps, name=name)
        if self._sandbox.generation != self._generation:
            self._forget()
            self._generation = self._sandbox.generation
        if transcript.crash is None:
            self._remember(question)
            return transcript
        notes, culprit = self._investigate(question, transcript)
        self._forget()
        return InvestigatedTranscript(
            replies=transcript.replies,
            crash=transcript.crash,
            timed_out=transcript.timed_out,
            notes=(*transcript.notes, *notes),
            culprit=culprit,
        )

    def close(self) -> None:
        """End the process and forget its questions."""
        self._sandbox.close()
        self._forget()

    def _remember(self, question: _SentQuestion) -> None:
        self._remembered.append(question)
        self._size += question.size
        while len(self._remembered) > self._effort.questions or self._size > self._effort.size:
            self._size -= self._remembered.popleft().size
            self._forgotten += 1

    def _forget(self) -> None:
        self._remembered.clear()
        self._size = self._forgotten = 0

    def _investigate(self, crashed: _SentQuestion, transcript: Transcript) -> tuple[list[str], Culprit | None]:
        """Return notes on the cause of a crash, and the earlier questions that cause it, if any."""
        self._allowed = min(self._effort.seconds, self._remaining_time)
        self._cost_before = self._sandbox.cost
        try:
            if transcript.timed_out:
                return self._investigate_timeout(crashed), None
            return self._investigate_crash(crashed)
        except StartError as error:
            return [f"not investigated further: no fresh process started ({error.reason})"], None
        except _OutOfTimeError:
            return [f"not investigated further: the {self._allowed:.3g} s of CPU time for that are spent"], None
        finally:
            self._sandbox.close()
            self._remaining_time = max(0.0, self._remaining_time - self._cost)

    @property
    def _cost(self) -> float:
        """The cost of this investigation until now (seconds)."""
        return self._sandbox.cost - self._cost_before

    def _investigate_timeout(self, crashed: _SentQuestion) -> list[str]:
        """Repeat a question that was not answered in time, alone; each further question could take a deadline."""
        if not self._remembered:
            return []
        if self._crashes([crashed]):
            return ["not answered alone in a fresh process either"]
        return [f"answered alone in a fresh process; it had followed {self._earlier_questions_text()}"]

    def _investigate_crash(self, crashed: _SentQuestion) -> tuple[list[str], Culprit | None]:
        if self._crashes([crashed]):
            return ["crashed again alone, in a fresh process"], None
        before = list(self._remembered)
        try:
            reproduced = bool(before) and self._crashes([*before, crashed])
        except _OutOfTimeError:
            return [
                f"did not crash again alone; no time to repeat the earlier questions: {self._earlier_questions_text()}"
            ], None
        if not reproduced:
            after = f" or after {self._earlier_questions_text()}" if before else ""
            return [f"did not crash again, alone{after}"], None
        culprit = self._narrow(before, crashed)
        names = ", then ".join(repr(name) for name in culprit.names)
        if culprit.narrowed:
            return [f"did not crash again alone, but after {names} in the same process"], culprit
        first, last, count = culprit.names[0], culprit.names[-1], len(culprit.names)
        some = names if count <= 3 else f"{count} questions from {first!r} to {last!r}"
        return [f"did not crash again alone, but after {some} in the same process (which of them: no time)"], culprit

    def _narrow(self, before: Sequence[_SentQuestion], crashed: _SentQuestion) -> Culprit:
        """
        Return a short list of questions after which `crashed` crashes, given that it does after `before`.

        The last necessary question is found by bisection, which assumes that more questions also crash. Then the next
        one is searched among those after it, until the list reproduces the crash.
        """
        needed: list[_SentQuestion] = []
        rest = list(before)
        crashes = 0  # the questions from this position in `rest` on reproduce the crash
        try:
            while rest and not (needed and self._crashes([*needed, crashed])):
                survives = len(rest)
                while survives - crashes > 1:
                    middle = (crashes + survives) // 2
                    if self._crashes([*needed, *rest[middle:], crashed]):
                        crashes = middle
                    else:
                        survives = middle
                needed.append(rest[crashes])
                rest, crashes = rest[crashes + 1 :], 0
        except (_OutOfTimeError, StartError):
            return Culprit(names=_names([*needed, *rest[crashes:]]), narrowed=False)
        return Culprit(names=_names(needed), narrowed=True)

    def _crashes(self, questions: Sequence[_SentQuestion]) -> bool:
        """Run questions in a fresh process and return whether it ended before it answered all of them."""
        self._sandbox.close()
        for each in questions:
            if self._cost >= self._allowed:
                raise _OutOfTimeError
            if self._sandbox.run_steps(each.steps, name=each.name).crash is not None:
                return True
        return False

    def _earlier_questions_text(self) -> str:
        count = len(self._remembered)
        every = count + self._forgotten
        return f"the {count} questions before it" + (
            f" (of {every}; the rest were not kept)" if self._forgotten else ""
        )


def _names(questions: Iterable[_SentQuestion]) -> tuple[str, ...]:
    return tuple(each.name for each in questions)


def _size(step: Step) -> int:
    """Return the size of the arrays of a step, in bytes."""
    match step:
        case Build() | SetWeights():
            return _size_of_weights(step.stack)
        case Forward():
            return step.x.nbytes
        case Differentiate():
            return step.x.nbytes + step.dy.nbytes
    return 0


def _size_of_weights(stack: Stack) -> int:
    arrays: list[Array | None] = [each for layer in stack.layers for each in (layer.kernel, layer.bias)]
    return sum(each.nbytes for each in arrays if each is not None)
