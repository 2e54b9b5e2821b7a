"""
The language between the suite and the process that holds a framework.

A question is a list of steps; each step has one reply. `perform` carries the steps out on an adapter, wherever that
adapter lives: in a child process (`conformance.sandbox.sandbox`) or, for a debugger, in this one. It judges nothing.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from types import TracebackType
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from msgspec import Meta

from conformance.adapters.protocol import (
    Adapter,
    Array,
    Gradients,
    Model,
    Name,
    Parameter,
    Rank,
    Shape,
    Stack,
    Unsupported,
)
from conformance.sandbox.answers import MOST_VALUES, Misfit, described, digits, fit, text, type_name
from conformance.sandbox.layouts import arrange
from conformance.text import shortened

#: Room for arrays of a wrong shape beside twice what right ones take, so that their shapes can be told (bytes).
SPARE_ROOM: Final = 16 * 2**20
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


#: Inputs laid out for one question, by identity of the array and layout.
Buffers = dict[tuple[int, str], Array]
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


def room(steps: Iterable[Step]) -> int:
    """Return how much the arrays of one answer to `steps` may take (bytes), by the width of the widest layer."""
    stacks = [each.stack for each in steps if isinstance(each, Build | SetWeights)]
    layers = [layer for stack in stacks for layer in stack.layers]
    weights = max(
        (sum(a.size for e in s.layers for a in (e.kernel, e.bias) if a is not None) for s in stacks), default=0
    )
    widest = max((each.units for each in layers if isinstance(each.units, int)), default=0)
    inputs = [each.x for each in steps if isinstance(each, Forward | Differentiate)]
    largest = max((math.prod(x.shape[:-1]) * max(widest, x.shape[-1]) for x in inputs if x.ndim), default=0)
    return SPARE_ROOM + 2 * np.dtype(np.float64).itemsize * (largest + weights)


def perform(adapter: Adapter, steps: Sequence[Step]) -> Iterator[Reply]:
    """
    Carry out `steps` one after the other, yielding the reply to each as it ends.

    Exceptions, and answers that are none, become replies.
    """
    largest = room(steps)
    models: dict[str, Model] = {}
    broken: dict[str, str] = {}
    buffers: Buffers = {}
    for step in steps:
        started = time.perf_counter()
        answer: Answer
        if step.model in broken:
            answer = Unreached(because=broken[step.model])
        else:
            try:
                answer = _carry_out(adapter, models, buffers, step, largest)
            except Misfit as misfit:
                answer = Malformed(message=str(misfit))
            except Unsupported as error:
                answer = Declined(reason=text(error))
            except Exception as error:
                answer = raised(error)
        if isinstance(step, Build | SetWeights) and not isinstance(answer, Done):
            broken.setdefault(step.model, step.label)
        yield Reply(label=step.label, answer=answer, seconds=time.perf_counter() - started, stage=step.stage)


def _carry_out(adapter: Adapter, models: dict[str, Model], buffers: Buffers, step: Step, largest: int) -> Value:
    """Return the answer to one step; `largest` is the size of its arrays, at most (bytes)."""
    if isinstance(step, Build):
        models[step.model] = adapter.build(step.stack, device=step.device)
        return Done()
    model = models[step.model]
    match step:
        case InferShapes():
            return fit(Inferred, {"shapes": model.infer_output_shapes(step.batch)})
        case ReadParameters():
            held = [_fields(Parameter, each) for each in islice(model.parameters(), MOST_VALUES)]
            count = model.parameter_count()
            own = None if count is None else digits(count, "$.own_count")
            return fit(Parameters, {"parameters": held, "own_count": own})
        case Forward():
            y = model.forward(_arranged(buffers, step))
            return fit(
                Output, {"y": y, "placement": model.placement(), "strides": model.handed_strides()}, room=largest
            )
        case Differentiate():
            return fit(Gradients, _fields(Gradients, model.gradients(_arranged(buffers, step), step.dy)), room=largest)
        case SetWeights():
            model.set_weights(step.stack)
            return Done()
        case _:
            raise TypeError(f"no such step: {type(step).__name__}")


def _fields(kind: type[Parameter | Gradients], value: object) -> dict[str, object]:
    """Return the fields of what must be of a kind of the protocol; raises `Misfit`."""
    if type(value) is not kind:
        raise Misfit(f"given `{type_name(value)}`, expected `{kind.__name__}`")
    return {each.name: getattr(value, each.name) for each in fields(kind)}


def _arranged(buffers: Buffers, step: Forward | Differentiate) -> Array:
    """Return the step's input in its layout: the same buffer for every step of a question that names the same array."""
    key = (id(step.x), step.layout)
    if key not in buffers:
        buffers[key] = arrange(step.x, step.layout)
    return buffers[key]


def raised(error: BaseException) -> Raised:
    """Return what is said of an exception, whatever its own methods do."""
    try:
        trace = text("".join(traceback.format_exception(error)))
    except Exception:  # what is formatted may be anything that a class of exceptions returns
        trace = ""
    modules = tuple(_modules(error.__traceback__))
    if len(modules) > 2 * END_OF_TRACEBACK:
        modules = modules[:END_OF_TRACEBACK] + modules[-END_OF_TRACEBACK:]
    return Raised(type=type_name(error).rpartition(".")[2], message=text(error), modules=modules, traceback=trace)


def _modules(trace: TracebackType | None) -> Iterator[str]:
    """Yield the dotted module name of every frame of a traceback, outermost first."""
    while trace is not None:
        yield text(trace.tb_frame.f_globals.get("__name__", "?"))
        trace = trace.tb_next


def describe(adapter: Adapter, threads: int) -> Hello:
    """
    Return what an adapter says of itself, with the number of threads the process was given.

    Raises:
        Misfit: it says what is not plain data of the types of `Hello`.
    """
    given = adapter.devices()
    # A text is a sequence of its letters, and no device is called by one. An iterator can be read once.
    devices = () if isinstance(given, str) else tuple(islice(given, MOST_VALUES))
    if isinstance(given, str) or not all(isinstance(each, str) for each in devices):
        raise Misfit(f"devices() returned {described(given)}: it must be a list of names, such as ['cpu']")
    versions: Any = {"python": sys.version.split()[0], **adapter.versions()}
    said = {"versions": versions, "settings": adapter.settings(), "devices": devices, "threads": threads}
    return fit(Hello, said)
