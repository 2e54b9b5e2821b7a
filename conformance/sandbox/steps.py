"""
The language between the suite and the process that holds a framework.

A question is a list of steps; each step has one reply. `conformance.sandbox.execution` carries steps out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from conformance.adapters.protocol import Array, Gradients, Name, Parameter, Rank, Shape, Stack
from conformance.text import shortened

#: Frames of a traceback whose modules are kept, of its outer and of its inner end.
END_OF_TRACEBACK: Final = 500
#: Characters kept of the message of an exception for which a process did not start, at its beginning and at its end.
END_OF_REASON: Final = 1000
#: The label of the first reply of a process, which answers no step.
GREETING: Final = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do to the model named `model`; `label` is the step's name in results."""

    label: str
    model: str = "main"
    stage: ClassVar[str] = "call"
    """What kind of step it is, for what is said of an exception: build, infer, parameters, call or set_weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Build(Step):
    """Build `stack` on `device` and keep it under the model's name."""

    stack: Stack
    device: str
    stage: ClassVar[str] = "build"


@dataclass(frozen=True, kw_only=True, slots=True)
class InferShapes(Step):
    """Ask what the framework infers for a batch size, None for an unknown one."""

    batch: int | None
    stage: ClassVar[str] = "infer"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadParameters(Step):
    """Ask for the parameters and the framework's own count of them."""

    stage: ClassVar[str] = "parameters"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward(Step):
    """Compute the output for `x`, laid out in memory as `layout` says."""

    x: Array
    layout: str = "contiguous"


@dataclass(frozen=True, kw_only=True, slots=True)
class Differentiate(Step):
    """Compute the gradients of sum(dy * y) at `x`."""

    x: Array
    dy: Array
    layout: str = "contiguous"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetWeights(Step):
    """Replace the model's weights by those of `stack`."""

    stack: Stack
    stage: ClassVar[str] = "set_weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inferred:
    """Reply to `InferShapes`."""

    shapes: Annotated[tuple[Annotated[Shape, Rank], ...], Meta(max_length=1000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Reply to `ReadParameters`."""

    parameters: tuple[Parameter, ...]
    #: In decimal digits: of a model of which only shapes are inferred it may be more than 64 bits hold.
    own_count: Annotated[str, Meta(pattern="^-?[0-9]{1,40}$")] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Reply to `Forward`: the array, the device it was read from, and the strides handed to the framework."""

    y: Array
    placement: Name
    strides: Annotated[tuple[int, ...], Rank] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """Reply to a step that has nothing to say: `Build`, `SetWeights`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """
    Reply to a step that raised.

    `modules` are the top-level names of the modules in the traceback, outermost first, so that a refusal by the
    framework can be told from a fault of the adapter.
    """

    type: Name
    message: str
    modules: Annotated[tuple[Name, ...], Meta(max_length=2 * END_OF_TRACEBACK)]
    traceback: str

    @property
    def in_a_line(self) -> str:
        """Type and message, what is not their beginning or end left out."""
        return f"{self.type}: {shortened(self.message, END_OF_REASON)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    """Reply to a step the model said it cannot do."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed:
    """Reply to a step whose answer is none: `message` says what was given and what is expected."""

    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreached:
    """Reply to a step on a model that could not be built, or that was left half-way by an earlier step."""

    because: str


Value = Inferred | Parameters | Output | Gradients | Done
#: What is given where there is no value.
NoValue = Raised | Declined | Malformed | Unreached


#: A setting: plain data, nested three deep at most.
_Scalar = bool | int | float | str | None
_Pair = _Scalar | list[_Scalar] | dict[str, _Scalar]
Setting = _Scalar | list[_Pair] | dict[str, _Pair]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """What a process says of itself once its framework is loaded."""

    versions: Annotated[Mapping[Name, Name], Meta(max_length=1000)]
    settings: Annotated[Mapping[Name, Setting], Meta(max_length=1000)]
    devices: Annotated[tuple[Name, ...], Meta(max_length=1000)]
    threads: int


Answer = Value | NoValue | Hello


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of one step, of which kind it was, and how long it took (seconds of wall time where it was done)."""

    label: str
    answer: Answer
    seconds: float
    stage: str = "call"


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A process that ended or was ended during a step: `reason` says how, `stderr` is the end of what it printed."""

    label: str
    reason: str
    stderr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """
    Everything that came back for one question: replies by label, and how the process ended if it did.

    `timed_out` is set with `crash` where the process was ended for passing its deadline.
    """

    replies: Mapping[str, Reply]
    crash: Crash | None = None
    timed_out: bool = False
    notes: tuple[str, ...] = field(default=())
