from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.sandbox.crash_bisection import Culprit, Effort, Investigated, Investigator
from conformance.sandbox.sandbox import Limits, Sandbox
from conformance.sandbox.steps import Step, Transcript
from tests.support.questions import HONEST, implementation, misdeed


class Asking:
    """An investigator, and a way to ask it many questions by name."""

    def __init__(self, marker: Path, *, hang: float = 10.0, **effort: Any) -> None:
        self.sandbox = Sandbox(implementation(MARKER=str(marker)), limits=Limits(hang=hang))
        self.investigator = Investigator(self.sandbox, effort=Effort(**effort))

    def ask(self, *names: str) -> Transcript:
        """Ask in turn, `honest 1` an honest question and anything else a misdeed; return what came of the last one."""
        for name in names:
            steps: Sequence[Step] = HONEST if name.startswith("honest") else misdeed(name)
            transcript = self.investigator.ask(steps, name=name)
        return transcript


@pytest.fixture
def asking(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Asking]:
    made = Asking(tmp_path / "marker", **getattr(request, "param", {}))
    yield made
    made.investigator.close()


def culprit(transcript: Transcript) -> Culprit | None:
    assert isinstance(transcript, Investigated)
    assert transcript.crash is not None
    return transcript.culprit


def test_answers_pass_through(asking: Asking) -> None:
    transcript = asking.ask("honest")
    assert type(transcript) is Transcript
    assert list(transcript.replies) == ["build", "output"]
    assert asking.investigator.start().versions == asking.sandbox.start().versions


def test_crash_of_its_own(asking: Asking) -> None:
    transcript = asking.ask("honest", "corrupt", "abort")
    assert culprit(transcript) is None
    assert transcript.notes == ("crashed again alone, in a fresh process",)
    assert transcript.crash is not None
    assert (transcript.crash.label, transcript.crash.reason) == ("misdeed", "SIGABRT")
    assert list(transcript.replies) == ["build", "shapes"]


def test_crash_that_another_question_caused_is_laid_at_its_door(asking: Asking) -> None:
    transcript = asking.ask("honest 1", "honest 2", "corrupt", "honest 3", "honest 4", "suffer")
    assert culprit(transcript) == Culprit(names=("corrupt",), narrowed=True)
    assert transcript.notes == ("did not crash again alone, but after 'corrupt' in the same process",)
    assert transcript.crash is not None
    assert transcript.crash.reason == "SIGABRT"


def test_crash_that_takes_two_others(asking: Asking) -> None:
    transcript = asking.ask("corrupt", "honest 1", "corrupt_more", "honest 2", "suffer_twice")
    assert culprit(transcript) == Culprit(names=("corrupt", "corrupt_more"), narrowed=True)
    assert "'corrupt', then 'corrupt_more'" in transcript.notes[0]


def test_crash_that_does_not_come_back(asking: Asking) -> None:
    transcript = asking.ask("honest 1", "honest 2", "abort_the_first_time")
    assert culprit(transcript) is None
    assert transcript.notes == ("did not crash again, alone or after the 2 questions before it",)


def test_crash_of_the_first_question_that_does_not_come_back(asking: Asking) -> None:
    assert asking.ask("abort_the_first_time").notes == ("did not crash again, alone",)


@pytest.mark.parametrize("asking", [{"questions": 2}], indirect=True)
def test_what_was_forgotten_is_counted(asking: Asking) -> None:
    transcript = asking.ask("corrupt", "honest 1", "honest 2", "suffer")
    assert culprit(transcript) is None
    note = "did not crash again, alone or after the 2 questions before it (of 3; the rest were not kept)"
    assert transcript.notes == (note,)


@pytest.mark.parametrize("asking", [{"size": 60}], indirect=True)
def test_little_is_kept_of_large_questions(asking: Asking) -> None:
    transcript = asking.ask("corrupt", "honest", "suffer")
    assert "after the 1 questions before it (of 2" in transcript.notes[0]


def test_questions_of_a_process_that_is_gone_are_not_replayed(asking: Asking) -> None:
    assert asking.ask("corrupt", "abort").crash is not None
    assert asking.ask("honest").crash is None
    transcript = asking.ask("abort_the_first_time")
    assert transcript.notes == ("did not crash again, alone or after the 1 questions before it",)


@pytest.mark.parametrize("asking", [{"seconds": 0.0}], indirect=True)
def test_no_time_is_said(asking: Asking) -> None:
    notes = asking.ask("honest", "abort").notes
    assert notes == ("not looked into any further: the 0 s of CPU time for that are spent",)


@pytest.mark.parametrize("asking", [{"seconds": 0.01}], indirect=True)
def test_what_is_spent_is_said(asking: Asking) -> None:
    notes = asking.ask("corrupt", "suffer").notes
    assert notes == ("did not crash again alone; no time to ask again what came before: the 1 questions before it",)


@pytest.mark.parametrize("asking", [{"hang": 2.0}], indirect=True)
def test_the_cost_is_cpu_time_and_the_wall_time_of_a_hang(asking: Asking) -> None:
    asking.sandbox.start()
    before = asking.sandbox.cost
    asking.sandbox.ask(misdeed("work"), name="work")
    assert asking.sandbox.cost - before >= 0.5
    asking.sandbox.close()
    assert asking.sandbox.cost - before >= 0.5, "that of a process that ended still counts"
    before = asking.sandbox.cost
    asking.sandbox.ask(misdeed("sleep"), name="sleep")
    assert asking.sandbox.cost - before >= 2.0


@pytest.mark.parametrize("asking", [{"hang": 0.5}], indirect=True)
@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["sleep"], ()),
        (["honest", "sleep"], ("not answered alone in a fresh process either",)),
        (
            ["corrupt", "hang_if_corrupted"],
            ("answered alone in a fresh process; had followed the 1 questions before it",),
        ),
    ],
)
def test_silence_is_asked_once_more_alone(asking: Asking, names: list[str], note: tuple[str, ...]) -> None:
    transcript = asking.ask(*names)
    assert transcript.timed_out
    assert culprit(transcript) is None
    assert transcript.notes == note


def test_next_question_has_a_fresh_process(asking: Asking) -> None:
    asking.ask("corrupt", "suffer")
    assert asking.ask("suffer").crash is None
