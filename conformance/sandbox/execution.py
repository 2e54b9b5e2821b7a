"""
The execution of a question's steps on an adapter.

`perform` runs in the child process of an implementation (`conformance.sandbox.child`) or, for a debugger, in this one
(`conformance.sandbox.in_process_sandbox`).
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from types import TracebackType
from typing import Final

import numpy as np

from conformance.adapters.protocol import Adapter, Gradients, Model, Parameter, Unsupported
from conformance.sandbox.answers import MOST_VALUES, Misfit, digits, fit, short_text, text, type_name
from conformance.sandbox.side_effects import Operands, Results
from conformance.sandbox.steps import (
    END_OF_TRACEBACK,
    Answer,
    Build,
    Declined,
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
    Reply,
    SetWeights,
    Step,
    Unreached,
    Value,
)

#: Room for arrays of a wrong shape, in addition to twice the size of right ones: their shapes are reported (bytes).
SPARE_ROOM: Final = 16 * 2**20


def room(steps: Iterable[Step]) -> int:
    """Return the room for the arrays of one answer to `steps` (bytes), from the units of the widest layer."""
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
    Run `steps` one after the other, and yield the reply to each when it ends.

    Exceptions and invalid answers become replies.
    """
    largest = room(steps)
    models: dict[str, Model] = {}
    broken: dict[str, str] = {}
    operands, results = Operands(), Results()
    for step in steps:
        started = time.perf_counter()
        answer: Answer
        if step.model in broken:
            answer = Unreached(because=broken[step.model])
        else:
            try:
                answer = _answer(adapter, models, operands, step, largest)
            except Misfit as misfit:
                answer = Malformed(message=str(misfit))
            except Unsupported as error:
                answer = Declined(reason=text(error))
            except Exception as error:
                answer = raised_reply(error)
        if isinstance(step, Build | SetWeights) and not isinstance(answer, Done):
            broken.setdefault(step.model, step.label)
        seconds = time.perf_counter() - started
        yield Reply(
            label=step.label,
            answer=answer,
            seconds=seconds,
            stage=step.stage,
            changed_operands=operands.changed(step),
            changed_results=results.changed(),
        )
        results.add(answer)


def _answer(adapter: Adapter, models: dict[str, Model], operands: Operands, step: Step, largest: int) -> Value:
    """Return the answer to one step; `largest` is the largest size of its arrays (bytes)."""
    if isinstance(step, Build):
        models[step.model] = adapter.build(operands.stack(step), device=step.device)
        return Done()
    model = models[step.model]
    match step:
        case InferShapes():
            return fit(Inferred, {"shapes": model.infer_output_shapes(step.batch)})
        case ReadParameters():
            parameters = [_fields(Parameter, each) for each in islice(model.parameters(), MOST_VALUES)]
            count = model.parameter_count()
            own = None if count is None else digits(count, "$.own_count")
            return fit(Parameters, {"parameters": parameters, "own_count": own})
        case Forward():
            y = model.forward(operands.arranged(step.x, step.layout))
            return fit(
                Output, {"y": y, "placement": model.placement(), "strides": model.handed_strides()}, room=largest
            )
        case Differentiate():
            x, dy = operands.arranged(step.x, step.layout), operands.arranged(step.dy, step.dy_layout)
            return fit(Gradients, _fields(Gradients, model.gradients(x, dy)), room=largest)
        case SetWeights():
            model.set_weights(operands.stack(step))
            return Done()
        case _:
            raise TypeError(f"no such step: {type(step).__name__}")


def _fields(kind: type[Parameter | Gradients], value: object) -> dict[str, object]:
    """Return the fields of a value that must be of a kind of the protocol; raises `Misfit`."""
    if type(value) is not kind:
        raise Misfit(f"given `{type_name(value)}`, expected `{kind.__name__}`")
    return {each.name: getattr(value, each.name) for each in fields(kind)}


def raised_reply(error: BaseException) -> Raised:
    """Return the reply for an exception, even if its own methods raise."""
    try:
        trace = text("".join(traceback.format_exception(error)))
    except Exception:  # an exception may return any object as its text
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


def hello_of(adapter: Adapter, threads: int) -> Hello:
    """
    Return the greeting of an adapter, with the number of threads of its process.

    Raises:
        Misfit: a method of the adapter does not return plain data of the types of `Hello`.
    """
    names = adapter.devices()
    # A text would be a sequence of letters. An iterator can be read only once.
    devices = () if isinstance(names, str) else tuple(islice(names, MOST_VALUES))
    if isinstance(names, str) or not all(isinstance(each, str) for each in devices):
        raise Misfit(f"devices() returned {short_text(names)}: it must be a list of names, such as ['cpu']")
    versions: dict[str, object] = {"python": sys.version.split()[0], **adapter.versions()}
    greeting = {"versions": versions, "settings": adapter.settings(), "devices": devices, "threads": threads}
    return fit(Hello, greeting)
