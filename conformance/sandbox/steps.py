"""
The messages between the suite and a framework's process.

A question is a list of steps. Each step has one reply. `conformance.sandbox.execution` runs steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from conformance.adapters.protocol import Array, Gradients, Name, Parameter, Rank, Shape, Stack
from conformance.text import shortened

#: The frames of a traceback whose modules are reported, at its outer and at its inner end.
END_OF_TRACEBACK: Final = 500
#: The characters of an exception at the start that are reported, at the beginning and at the end of its message.
END_OF_REASON: Final = 1000
#: The label of the greeting, the first reply of a process.
GREETING: Final = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One call of the model named `model`; `label` is the step's name in results."""

    label: str
    model: str = "main"
    stage: ClassVar[str] = "call"
    """The kind of the step, for the record of an exception: build, infer, parameters, call or set_weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Build(Step):
    """Build `stack` on `device`, as the model of the given name."""

    stack: Stack
    device: str
    stage: ClassVar[str] = "build"


@dataclass(frozen=True, kw_only=True, slots=True)
class InferShapes(Step):
    """Infer shapes for a batch size, None for an unknown one."""

    batch: int | None
    stage: ClassVar[str] = "infer"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadParameters(Step):
    """Read the parameters and the framework's own count of them."""

    stage: ClassVar[str] = "parameters"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward(Step):
    """Compute the output for `x` in the memory layout `layout`."""

    x: Array
    layout: str = "contiguous"


@dataclass(frozen=True, kw_only=True, slots=True)
class Differentiate(Step):
    """Compute the gradients of sum(dy * y) at `x`, each laid out in memory as its layout says."""

    x: Array
    dy: Array
    layout: str = "contiguous"
    dy_layout: str = "contiguous"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetWeights(Step):
    """Replace the model's weights by those of `stack`, laid out in memory as the layouts say."""

    stack: Stack
    kernel_layout: str = "contiguous"
    bias_layout: str = "contiguous"
    stage: ClassVar[str] = "set_weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inferred:
    """Reply to `InferShapes`."""

    shapes: Annotated[tuple[Annotated[Shape, Rank], ...], Meta(max_length=1000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Reply to `ReadParameters`."""

    parameters: tuple[Parameter, ...]
    #: In decimal digits, because it may exceed 64 bits if only shapes are inferred.
    own_count: Annotated[str, Meta(pattern="^-?[0-9]{1,40}$")] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Reply to `Forward`: the array, its device, and the strides that the framework received."""

    y: Array
    placement: Name
    strides: Annotated[tuple[int, ...], Rank] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """Reply to a step without a result: `Build`, `SetWeights`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """
    Reply to a step that raised.

    `modules` are the top-level names of the modules in the traceback, outermost first. They distinguish a refusal by
    the framework from a fault of the adapter.
    """

    type: Name
    message: str
    modules: Annotated[tuple[Name, ...], Meta(max_length=2 * END_OF_TRACEBACK)]
    traceback: str

    @property
    def in_a_line(self) -> str:
        """Type and message in one line, a long message without its middle."""
        return f"{self.type}: {shortened(self.message, END_OF_REASON)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    """Reply to a step that the model declares unsupported."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed:
    """Reply to a step with an invalid answer: `message` has the value and what is expected."""

    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreached:
    """Reply to a step on a model that was not built, or whose change failed in an earlier step."""

    because: str


Value = Inferred | Parameters | Output | Gradients | Done
#: Replies without a value.
NoValue = Raised | Declined | Malformed | Unreached


#: A setting: plain data, nested three deep at most.
_Scalar = bool | int | float | str | None
_Pair = _Scalar | list[_Scalar] | dict[str, _Scalar]
Setting = _Scalar | list[_Pair] | dict[str, _Pair]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """The greeting of a process after its framework is loaded."""

    versions: Annotated[Mapping[Name, Name], Meta(max_length=1000)]
    settings: Annotated[Mapping[Name, Setting], Meta(max_length=1000)]
    devices: Annotated[tuple[Name, ...], Meta(max_length=1000)]
    threads: int


Answer = Value | NoValue | Hello
#: Names of arrays, such as `x` or `bias of layer 0`.
ArrayNames = Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ]{1,40}\Z")], ...], Meta(max_length=100_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The reply to one step, the kind of the step, and its wall time in the child (seconds)."""

    label: str
    answer: Answer
    seconds: float
    stage: str = "call"
    #: The operands of the step, such as `x`, that are no longer as the model received them.
    changed_operands: ArrayNames = ()
    #: The first results, such as `y`, that the step changed after they had been returned.
    changed_results: ArrayNames = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """The end of a process during a step: `reason` says how it ended, `stderr` is the end of its output."""

    label: str
    reason: str
    stderr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """
    The replies to one question by label, and the end of the process, if it ended.

    `timed_out` is set with `crash` if the process passed its deadline.
    """

    replies: Mapping[str, Reply]
    crash: Crash | None = None
    timed_out: bool = False
    notes: tuple[str, ...] = field(default=())
