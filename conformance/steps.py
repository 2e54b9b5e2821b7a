"""
The language between the suite and the process that holds a framework.

A question is a list of steps; each step has one reply. `perform` carries the steps out on an adapter, wherever that
adapter lives: in a child process (`conformance.sandbox`) or, for a debugger, in this one. It judges nothing.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar

import numpy as np

from conformance.adapters.protocol import Adapter, Array, Gradients, Model, Parameter, Shape, Stack, Unsupported

ALIGNMENT = 64


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

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Reply to `ReadParameters`."""

    parameters: tuple[Parameter, ...]
    own_count: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Reply to `Forward`: the array, the device it was read from, and the strides handed to the framework."""

    y: Array
    placement: str
    strides: tuple[int, ...] | None


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

    type: str
    message: str
    modules: tuple[str, ...]
    traceback: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    """Reply to a step the model said it cannot do."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreached:
    """Reply to a step on a model that could not be built, or that was left half-way by an earlier step."""

    because: str


#: Inputs laid out for one question, by identity of the array and layout.
Buffers = dict[tuple[int, str], Array]
Value = Inferred | Parameters | Output | Gradients | Done
Answer = Value | Raised | Declined | Unreached


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of one step, of which kind it was, and how long it took (seconds of wall time where it was done)."""

    label: str
    answer: Answer
    seconds: float
    stage: str = "call"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """What a process says of itself once its framework is loaded."""

    versions: Mapping[str, str]
    settings: Mapping[str, object]
    devices: tuple[str, ...]
    threads: int


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


def perform(adapter: Adapter, steps: Sequence[Step]) -> Iterator[Reply]:
    """Carry out `steps` one after the other, yielding the reply to each as it ends; exceptions become replies."""
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
                answer = _carry_out(adapter, models, buffers, step)
            except Unsupported as error:
                answer = Declined(reason=str(error))
            except Exception as error:
                answer = _raised(error)
        if isinstance(step, Build | SetWeights) and not isinstance(answer, Done):
            broken.setdefault(step.model, step.label)
        yield Reply(label=step.label, answer=answer, seconds=time.perf_counter() - started, stage=step.stage)


def _carry_out(adapter: Adapter, models: dict[str, Model], buffers: Buffers, step: Step) -> Value:
    if isinstance(step, Build):
        models[step.model] = adapter.build(step.stack, device=step.device)
        return Done()
    model = models[step.model]
    match step:
        case InferShapes():
            shapes = model.infer_output_shapes(step.batch)
            return Inferred(shapes=tuple(tuple(shape) for shape in shapes))
        case ReadParameters():
            return Parameters(parameters=tuple(model.parameters()), own_count=model.parameter_count())
        case Forward():
            y = model.forward(_arranged(buffers, step))
            return Output(y=y, placement=model.placement(), strides=model.handed_strides())
        case Differentiate():
            return model.gradients(_arranged(buffers, step), step.dy)
        case SetWeights():
            model.set_weights(step.stack)
            return Done()
        case _:
            raise TypeError(f"no such step: {type(step).__name__}")


def _arranged(buffers: Buffers, step: Forward | Differentiate) -> Array:
    """Return the step's input in its layout: the same buffer for every step of a question that names the same array."""
    key = (id(step.x), step.layout)
    if key not in buffers:
        buffers[key] = arrange(step.x, step.layout)
    return buffers[key]


def arrange(x: Array, layout: str) -> Array:
    """
    Return an array equal to `x` in the memory layout named, its first byte on a 64-byte boundary.

    Layouts do not survive a pipe, so they are built on arrival. `transposed` permutes the leading axes in memory (the
    last axis stays fastest), `strided` skips every second element of a wider last axis, `broadcast` has stride 0 on the
    first axis and therefore asks that `x` be equal along it.

    Raises:
        ValueError: `layout` is unknown, or `x` is not equal along its first axis for `broadcast`.
    """
    if layout == "contiguous":
        return _aligned(x.shape, x.dtype, x)
    if layout == "transposed":
        leading = x.ndim - 1
        reverse = (*range(leading - 1, -1, -1), *range(leading, x.ndim))
        return _aligned(tuple(x.shape[axis] for axis in reverse), x.dtype, x.transpose(reverse)).transpose(reverse)
    if layout == "strided":
        wide = _aligned((*x.shape[:-1], 2 * x.shape[-1]), x.dtype, None)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "broadcast":
        # A number that is not equal to itself is NaN.
        if x.shape[0] > 1 and not ((x[:1] == x[1:]) | ((x[:1] != x[:1]) & (x[1:] != x[1:]))).all():
            raise ValueError("a broadcast layout needs an input that is equal along its first axis")
        return np.broadcast_to(_aligned(x.shape[1:], x.dtype, x[0] if x.shape[0] else None), x.shape)
    raise ValueError(f"no such layout: {layout!r}")


def _aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic], values: Array | None) -> Array:
    """Return a C-contiguous array on a 64-byte boundary, filled with `values` or with zeros."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    array: Array = buffer[start : start + size].view(dtype).reshape(shape)
    if values is not None:
        array[...] = values
    return array


def _raised(error: Exception) -> Raised:
    return Raised(
        type=type(error).__name__,
        message=str(error),
        modules=tuple(_modules(error.__traceback__)),
        traceback="".join(traceback.format_exception(error)),
    )


def _modules(trace: TracebackType | None) -> Iterator[str]:
    """Yield the dotted module name of every frame of a traceback, outermost first."""
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "?"))
        trace = trace.tb_next


def describe(adapter: Adapter, threads: int) -> Hello:
    """Return what an adapter says of itself, with the number of threads the process was given."""
    return Hello(
        versions={"python": sys.version.split()[0], **adapter.versions()},
        settings=dict(adapter.settings()),
        devices=tuple(adapter.devices()),
        threads=threads,
    )
