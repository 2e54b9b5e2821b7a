from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.sandbox.crash_bisection import Culprit, Effort, InvestigatedTranscript, Investigator
from conformance.sandbox.sandbox import Limits, Sandbox
from conformance.sandbox.steps import Step, Transcript
from tests.support.questions import HONEST, implementation, misdeed


class NamedQuestions:
    """An investigator whose questions have names."""

    def __init__(self, marker: Path, *, hang: float = 10.0, **effort: Any) -> None:
        self.sandbox = Sandbox(implementation(MARKER=str(marker)), limits=Limits(hang=hang))
        self.investigator = Investigator(self.sandbox, effort=Effort(**effort))

    def run(self, *names: str) -> Transcript:
        """Run questions in turn, `honest ...` an honest one and any other a misdeed; return the last transcript."""
        for name in names:
            steps: Sequence[Step] = HONEST if name.startswith("honest") else misdeed(name)
            transcript = self.investigator.run_steps(steps, name=name)
        return transcript


@pytest.fixture
def questions(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NamedQuestions]:
    made = NamedQuestions(tmp_path / "marker", **getattr(request, "param", {}))
    yield made
    made.investigator.close()


def culprit(transcript: Transcript) -> Culprit | None:
    assert isinstance(transcript, InvestigatedTranscript)
    assert transcript.crash is not None
    return transcript.culprit


def test_answers_pass_through(questions: NamedQuestions) -> None:
    transcript = questions.run("honest")
    assert type(transcript) is Transcript
    assert list(transcript.replies) == ["build", "output"]
    assert questions.investigator.start().versions == questions.sandbox.start().versions


def test_a_question_that_crashes_alone(questions: NamedQuestions) -> None:
    transcript = questions.run("honest", "corrupt", "abort")
    assert culprit(transcript) is None
    assert transcript.notes == ("crashed again alone, in a fresh process",)
    assert transcript.crash is not None
    assert (transcript.crash.label, transcript.crash.reason) == ("misdeed", "SIGABRT")
    assert list(transcript.replies) == ["build", "shapes"]


def test_crash_that_another_question_caused_is_laid_at_its_door(questions: NamedQuestions) -> None:
    transcript = questions.run("honest 1", "honest 2", "corrupt", "honest 3", "honest 4", "suffer")
    assert culprit(transcript) == Culprit(names=("corrupt",), narrowed=True)
    assert transcript.notes == ("did not crash again alone, but after 'corrupt' in the same process",)
    assert transcript.crash is not None
    assert transcript.crash.reason == "SIGABRT"


def test_crash_that_takes_two_others(questions: NamedQuestions) -> None:
    transcript = questions.run("corrupt", "honest 1", "corrupt_more", "honest 2", "suffer_twice")
    assert culprit(transcript) == Culprit(names=("corrupt", "corrupt_more"), narrowed=True)
    assert "'corrupt', then 'corrupt_more'" in transcript.notes[0]


def test_crash_that_does_not_come_back(questions: NamedQuestions) -> None:
    transcript = questions.run("honest 1", "honest 2", "abort_the_first_time")
    assert culprit(transcript) is None
    assert transcript.notes == ("did not crash again, alone or after the 2 questions before it",)


def test_crash_of_the_first_question_that_does_not_come_back(questions: NamedQuestions) -> None:
    assert questions.run("abort_the_first_time").notes == ("did not crash again, alone",)


@pytest.mark.parametrize("questions", [{"questions": 2}], indirect=True)
def test_forgotten_questions_are_counted(questions: NamedQuestions) -> None:
    transcript = questions.run("corrupt", "honest 1", "honest 2", "suffer")
    assert culprit(transcript) is None
    note = "did not crash again, alone or after the 2 questions before it (of 3; the rest were not kept)"
    assert transcript.notes == (note,)


@pytest.mark.parametrize("questions", [{"size": 60}], indirect=True)
def test_few_large_questions_are_remembered(questions: NamedQuestions) -> None:
    transcript = questions.run("corrupt", "honest", "suffer")
    assert "after the 1 questions before it (of 2" in transcript.notes[0]


def test_questions_of_an_ended_process_are_not_repeated(questions: NamedQuestions) -> None:
    assert questions.run("corrupt", "abort").crash is not None
    assert questions.run("honest").crash is None
    transcript = questions.run("abort_the_first_time")
    assert transcript.notes == ("did not crash again, alone or after the 1 questions before it",)


@pytest.mark.parametrize("questions", [{"seconds": 0.0}], indirect=True)
def test_an_investigation_without_time_is_reported(questions: NamedQuestions) -> None:
    notes = questions.run("honest", "abort").notes
    assert notes == ("not investigated further: the 0 s of CPU time for that are spent",)


@pytest.mark.parametrize("questions", [{"seconds": 0.01}], indirect=True)
def test_spent_time_is_reported(questions: NamedQuestions) -> None:
    notes = questions.run("corrupt", "suffer").notes
    assert notes == ("did not crash again alone; no time to repeat the earlier questions: the 1 questions before it",)


@pytest.mark.parametrize("questions", [{"hang": 2.0}], indirect=True)
def test_the_cost_is_cpu_time_and_the_wall_time_of_a_hang(questions: NamedQuestions) -> None:
    questions.sandbox.start()
    before = questions.sandbox.cost
    questions.sandbox.run_steps(misdeed("work"), name="work")
    assert questions.sandbox.cost - before >= 0.5
    questions.sandbox.close()
    assert questions.sandbox.cost - before >= 0.5, "that of a process that ended still counts"
    before = questions.sandbox.cost
    questions.sandbox.run_steps(misdeed("sleep"), name="sleep")
    assert questions.sandbox.cost - before >= 2.0


@pytest.mark.parametrize("questions", [{"hang": 0.5}], indirect=True)
@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["sleep"], ()),
        (["honest", "sleep"], ("not answered alone in a fresh process either",)),
        (
            ["corrupt", "hang_if_corrupted"],
            ("answered alone in a fresh process; it had followed the 1 questions before it",),
        ),
    ],
)
def test_a_timeout_is_repeated_alone(questions: NamedQuestions, names: list[str], note: tuple[str, ...]) -> None:
    transcript = questions.run(*names)
    assert transcript.timed_out
    assert culprit(transcript) is None
    assert transcript.notes == note


def test_next_question_has_a_fresh_process(questions: NamedQuestions) -> None:
    questions.run("corrupt", "suffer")
    assert questions.run("suffer").crash is None
