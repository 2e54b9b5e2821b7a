"""The answers of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from conformance.adapters.protocol import Gradients, Stack
from conformance.sandbox.sandbox import Sandbox
from conformance.sandbox.steps import (
    Build,
    Differentiate,
    Done,
    Forward,
    Hello,
    Inferred,
    InferShapes,
    Malformed,
    Output,
    Parameters,
    Raised,
    ReadParameters,
    Transcript,
    Unreached,
)
from tests.support.questions import HONEST, X, built, implementation, misdeed, pids, value


def test_garbage_is_collected_only_once_the_adapter_is_loaded(
    sandboxed: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """Collections during an import of TensorFlow take a fifth of its CPU time."""
    source = """\
import gc

from tests.support.misbehaving_adapter import Misbehaving

COLLECTS = gc.isenabled()

class Counting(Misbehaving):
    def build(self, stack, device, seed=None):
        raise RuntimeError(f"{COLLECTS}, then {gc.isenabled()}; {gc.get_freeze_count() > 1000}")
"""
    (tmp_path / "counting.py").write_text(source, encoding="utf-8")
    sandbox = sandboxed(implementation("counting:Counting"), search_path=[str(tmp_path)])
    said = value(sandbox.run_steps(HONEST), "build")
    assert isinstance(said, Raised)
    assert said.message == "False, then True; True"


def test_answers_come_back(shared: Sandbox) -> None:
    dy = np.ones((2, 3, 4), np.float32)
    transcript = shared.run_steps(
        (
            *HONEST,
            InferShapes(label="shapes", batch=None),
            ReadParameters(label="parameters"),
            Differentiate(label="gradients", x=X, dy=dy, layout="transposed"),
        ),
        name="a case",
    )
    assert list(transcript.replies) == ["build", "output", "shapes", "parameters", "gradients"]
    assert transcript.crash is None
    assert not transcript.timed_out
    assert isinstance(value(transcript, "build"), Done)
    output, parameters, gradients = (value(transcript, each) for each in ("output", "parameters", "gradients"))
    assert isinstance(output, Output)
    assert (output.y == X * np.arange(1, 5) + 1).all()
    assert output.y.dtype == np.float32
    assert isinstance(parameters, Parameters)
    assert parameters.parameters[0].shape == (1, 4)
    assert isinstance(gradients, Gradients)
    assert gradients.layers[0][0].tolist() == [[15.0] * 4]
    assert all(reply.seconds >= 0 for reply in transcript.replies.values())


def test_the_greeting_has_versions_devices_and_threads(shared: Sandbox) -> None:
    hello = shared.start()
    assert isinstance(hello, Hello)
    assert hello.versions == {"python": sys.version.split()[0], "numpy": np.__version__}
    assert hello.devices == ("cpu",)
    assert hello.threads == 1


def test_no_steps_have_no_replies(shared: Sandbox) -> None:
    assert shared.run_steps(()) == Transcript(replies={})


def test_one_process_answers_many_questions(shared: Sandbox) -> None:
    assert pids(shared) == pids(shared)


def test_large_arrays_cross_both_ways(shared: Sandbox) -> None:
    x = np.arange(2**22, dtype=np.float32).reshape(-1, 1)  # 16 MiB there, 64 MiB back
    output = value(shared.run_steps((built(), Forward(label="output", x=x))), "output")
    assert output.y[-1].tolist() == [x[-1, 0] * k + 1 for k in (1, 2, 3, 4)]


def test_answers_that_do_not_fit_into_the_pipe_flow_through_it(sandboxed: Callable[..., Sandbox]) -> None:
    x = np.arange(2**16, dtype=np.float32).reshape(-1, 1)  # 1 MiB back, each time
    steps = (built(), *(Forward(label=f"output {number}", x=x) for number in range(20)))
    with sandboxed(question=30.0) as sandbox:
        for _ in range(3):
            transcript = sandbox.run_steps(steps)
            assert transcript.crash is None
            assert value(transcript, "output 19").y[-1].tolist() == [x[-1, 0] * k + 1 for k in (1, 2, 3, 4)]


def test_an_exception_is_a_reply_and_the_process_survives(shared: Sandbox) -> None:
    (before,) = pids(shared)
    transcript = shared.run_steps(misdeed("raise_an_error"))
    raised = value(transcript, "misdeed")
    assert isinstance(raised, Raised)
    assert (raised.type, raised.message) == ("ValueError", "units of that kind are not welcome")
    assert pids(shared) == [before]


def test_an_invalid_answer_is_a_fault_of_its_step(shared: Sandbox) -> None:
    transcript = shared.run_steps(
        (built("foreign"), ReadParameters(label="parameters"), InferShapes(label="shapes", batch=None))
    )
    found = value(transcript, "parameters")
    assert isinstance(found, Malformed)
    assert found.message == (
        "given `fractions.Fraction`, expected plain data or a numpy.ndarray of numbers - at `$.parameters[0].shape[0]`"
    )
    assert isinstance(value(transcript, "shapes"), Inferred)


def test_model_that_was_not_built_is_unreached(shared: Sandbox) -> None:
    transcript = shared.run_steps(
        (Build(label="build", stack=two_layers(), device="cpu"), Forward(label="output", x=X))
    )
    assert isinstance(value(transcript, "build"), Raised)
    assert isinstance(value(transcript, "output"), Unreached)


def two_layers() -> Stack:
    stack = built().stack
    return Stack(input_shape=(3, 1), leading_axes=1, dtype="float32", layers=stack.layers * 2)
