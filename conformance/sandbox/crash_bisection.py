"""
Finds the question that causes a crash.

A process that corrupted its memory in one question may end in a later one. A question that crashed is therefore asked
again alone, in a fresh process. If the process survives, the questions that the dead process had answered are asked
again before it, and the shortest list of them that brings the crash back is searched. The outcome stays a crash; a note
names the questions that cause it.
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
    """What an investigator asks through: a process that `close` ends and the next question starts anew."""

    @property
    def generation(self) -> int:
        """The number of the process that answered last."""
        ...

    @property
    def cost(self) -> float:
        """What its processes have cost until now, in seconds that do not depend on what else the machine does."""
        ...

    def start(self) -> Hello:
        """Start the process, if it is not running."""
        ...

    def ask(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Ask one question."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Culprit:
    """
    The questions after which another crashes that does not crash alone.

    `names` are enough to bring the crash back, in the order asked. Where `narrowed`, none of them can be left out.
    """

    names: tuple[str, ...]
    narrowed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Investigated(Transcript):
    """The transcript of a question that crashed; `culprit` is set where other questions bring that about."""

    culprit: Culprit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """
    How much is done about crashes.

    The time is CPU time of the processes that are asked, so that what is found out does not depend on load. A hang
    counts with its wall time. The question that is being asked when the time is spent is still waited for.
    """

    #: Questions of one process that are remembered.
    questions: int = 200
    #: Size of the arrays of these questions (bytes).
    size: int = 64 * 2**20
    #: Time for one crash (seconds).
    seconds: float = 180.0
    #: Time for all crashes (seconds).
    total: float = 1200.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    name: str
    steps: Sequence[Step]
    size: int


class _OutOfTimeError(Exception):
    """The time for this investigation is spent."""


class Investigator:
    """Asks through a sandbox, and looks into every crash."""

    def __init__(self, sandbox: Replaceable, *, effort: Effort | None = None) -> None:
        self._sandbox = sandbox
        self._effort = effort or Effort()
        self._remembered: deque[_Asked] = deque()
        self._size = 0
        self._forgotten = 0
        self._generation = sandbox.generation
        self._left = self._effort.total
        self._allowed = 0.0
        self._cost_before = 0.0

    def start(self) -> Hello:
        """Return what the process says of itself, starting it if there is none; raises `StartError`."""
        return self._sandbox.start()

    def ask(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """
        Return what came of `steps`; after a crash, an `Investigated` that says in its notes how it came about.

        Raises:
            StartError: there was no process, and none came up.
        """
        asked = _Asked(name=name, steps=steps, size=sum(map(_size, steps)))
        transcript = self._sandbox.ask(steps, name=name)
        if self._sandbox.generation != self._generation:
            self._forget()
            self._generation = self._sandbox.generation
        if transcript.crash is None:
            self._remember(asked)
            return transcript
        notes, culprit = self._investigate(asked, transcript)
        self._forget()
        return Investigated(
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

    def _remember(self, asked: _Asked) -> None:
        self._remembered.append(asked)
        self._size += asked.size
        while len(self._remembered) > self._effort.questions or self._size > self._effort.size:
            self._size -= self._remembered.popleft().size
            self._forgotten += 1

    def _forget(self) -> None:
        self._remembered.clear()
        self._size = self._forgotten = 0

    def _investigate(self, asked: _Asked, transcript: Transcript) -> tuple[list[str], Culprit | None]:
        """Return notes on how a crash came about, and the questions to blame if they are others."""
        self._allowed = min(self._effort.seconds, self._left)
        self._cost_before = self._sandbox.cost
        try:
            if transcript.timed_out:
                return self._look_into_silence(asked), None
            return self._look_into_crash(asked)
        except StartError as error:
            return [f"not looked into any further: no fresh process came up ({error.reason})"], None
        except _OutOfTimeError:
            return [f"not looked into any further: the {self._allowed:.3g} s of CPU time for that are spent"], None
        finally:
            self._sandbox.close()
            self._left = max(0.0, self._left - self._cost)

    @property
    def _cost(self) -> float:
        """What this investigation has cost until now (seconds)."""
        return self._sandbox.cost - self._cost_before

    def _look_into_silence(self, asked: _Asked) -> list[str]:
        """Ask a question that was not answered in time again alone; to replay more would take a deadline each."""
        if not self._remembered:
            return []
        if self._ends([asked]):
            return ["not answered alone in a fresh process either"]
        return [f"answered alone in a fresh process; had followed {self._what_came_before()}"]

    def _look_into_crash(self, asked: _Asked) -> tuple[list[str], Culprit | None]:
        if self._ends([asked]):
            return ["crashed again alone, in a fresh process"], None
        before = list(self._remembered)
        try:
            reproduced = bool(before) and self._ends([*before, asked])
        except _OutOfTimeError:
            return [
                f"did not crash again alone; no time to ask again what came before: {self._what_came_before()}"
            ], None
        if not reproduced:
            after = f" or after {self._what_came_before()}" if before else ""
            return [f"did not crash again, alone{after}"], None
        culprit = self._narrow(before, asked)
        names = ", then ".join(repr(name) for name in culprit.names)
        if culprit.narrowed:
            return [f"did not crash again alone, but after {names} in the same process"], culprit
        first, last, count = culprit.names[0], culprit.names[-1], len(culprit.names)
        some = names if count <= 3 else f"{count} questions from {first!r} to {last!r}"
        return [f"did not crash again alone, but after {some} in the same process (which of them: no time)"], culprit

    def _narrow(self, before: Sequence[_Asked], asked: _Asked) -> Culprit:
        """
        Return the shortest list of questions found after which `asked` crashes, given that it does after `before`.

        The last question that is needed is found by bisection, which takes it that more questions crash no less; then
        the next one among those after it, until what was found is enough.
        """
        needed: list[_Asked] = []
        rest = list(before)
        crashes = 0  # the position in `rest` from which on it is enough
        try:
            while rest and not (needed and self._ends([*needed, asked])):
                survives = len(rest)
                while survives - crashes > 1:
                    middle = (crashes + survives) // 2
                    if self._ends([*needed, *rest[middle:], asked]):
                        crashes = middle
                    else:
                        survives = middle
                needed.append(rest[crashes])
                rest, crashes = rest[crashes + 1 :], 0
        except (_OutOfTimeError, StartError):
            return Culprit(names=_names([*needed, *rest[crashes:]]), narrowed=False)
        return Culprit(names=_names(needed), narrowed=True)

    def _ends(self, questions: Sequence[_Asked]) -> bool:
        """Ask questions in a fresh process and return whether it ended before all of them were answered."""
        self._sandbox.close()
        for each in questions:
            if self._cost >= self._allowed:
                raise _OutOfTimeError
            if self._sandbox.ask(each.steps, name=each.name).crash is not None:
                return True
        return False

    def _what_came_before(self) -> str:
        count = len(self._remembered)
        every = count + self._forgotten
        return f"the {count} questions before it" + (
            f" (of {every}; the rest were not kept)" if self._forgotten else ""
        )


def _names(questions: Iterable[_Asked]) -> tuple[str, ...]:
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
