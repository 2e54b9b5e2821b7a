"""
The arrays of a question that no step may change: its operands, and its first results.

A model receives copies of the arrays of a step, so that both can be compared afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Stack
from conformance.sandbox.layouts import arrange
from conformance.sandbox.steps import Answer, Build, Differentiate, Forward, Output, SetWeights, Step

#: A name, an array as a model received or returned it, and the array that it must equal.
_Watched = tuple[str, Array, Array]
#: From this size on arrays are compared without copies (bytes).
_LARGE: Final = 2**14


class Operands:
    """Copies of the arrays of steps, in their memory layouts. Steps that share an array share its copy."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, str], Array] = {}
        #: By the name of the model: its weights, and those that the last step replaced.
        self._weights: dict[str, list[_Watched]] = {}
        self._replaced: list[_Watched] = []

    def arranged(self, array: Array, layout: str) -> Array:
        """Return the copy of an array in a layout."""
        key = (id(array), layout)
        if key not in self._copies:
            self._copies[key] = arrange(array, layout)
        return self._copies[key]

    def stack(self, step: Build | SetWeights) -> Stack:
        """Return the stack of a step with copies of its weights."""
        kernel_layout = bias_layout = "contiguous"
        if isinstance(step, SetWeights):
            kernel_layout, bias_layout = step.kernel_layout, step.bias_layout
        weights: list[_Watched] = []
        layers: list[Dense] = []
        for index, layer in enumerate(step.stack.layers):
            copies: dict[str, Array] = {}
            for name, array, layout in (("kernel", layer.kernel, kernel_layout), ("bias", layer.bias, bias_layout)):
                if array is not None:
                    copies[name] = self.arranged(array, layout)
                    weights.append((f"{name} of layer {index}", copies[name], array))
            layers.append(replace(layer, kernel=copies.get("kernel"), bias=copies.get("bias")))
        self._replaced = self._weights.get(step.model, [])
        self._weights[step.model] = weights
        return replace(step.stack, layers=tuple(layers))

    def changed(self, step: Step) -> tuple[str, ...]:
        """Return the names of the operands of a step, and of the weights of its model, that are not as they were."""
        names = [name for name, copy, array in self._operands(step) if not _is_same(copy, array)]
        return tuple(dict.fromkeys(names))

    def _operands(self, step: Step) -> Iterator[_Watched]:
        arrays: list[tuple[str, Array, str]] = []
        if isinstance(step, Forward | Differentiate):
            arrays.append(("x", step.x, step.layout))
        if isinstance(step, Differentiate):
            arrays.append(("dy", step.dy, step.dy_layout))
        for name, array, layout in arrays:
            # A step that was not carried out has no copies.
            if (copy := self._copies.get((id(array), layout))) is not None:
                yield name, copy, array
        if isinstance(step, SetWeights):
            yield from self._replaced
        yield from self._weights.get(step.model, ())


class Results:
    """The first output and the first gradients of a question, and their contents when they were returned."""

    def __init__(self) -> None:
        self._watched: dict[type[Answer], list[_Watched]] = {}

    def add(self, answer: Answer) -> None:
        """Keep the arrays of an answer if it is the first one of its kind."""
        if isinstance(answer, Output | Gradients) and type(answer) not in self._watched:
            self._watched[type(answer)] = [(name, array, array.copy()) for name, array in _arrays(answer)]

    def changed(self) -> tuple[str, ...]:
        """Return the names of the arrays that changed since they were returned, or since the last call."""
        names = []
        for watched in self._watched.values():
            for index, (name, array, contents) in enumerate(watched):
                if not _is_same(array, contents):
                    names.append(name)
                    watched[index] = (name, array, array.copy())
        return tuple(names)


def _arrays(answer: Output | Gradients) -> Iterator[tuple[str, Array]]:
    if isinstance(answer, Output):
        yield "y", answer.y
        return
    if answer.dx is not None:
        yield "dx", answer.dx
    for index, (kernel, bias) in enumerate(answer.layers):
        yield f"dW of layer {index}", kernel
        if bias is not None:
            yield f"db of layer {index}", bias


def _is_same(one: Array, other: Array) -> bool:
    """Return whether two arrays have the same shape and bytes."""
    if one.shape != other.shape:
        return False
    if one.nbytes < _LARGE or not (one.flags.c_contiguous and other.flags.c_contiguous):
        return one.tobytes() == other.tobytes()
    # Copies of large arrays would take longer than most steps.
    words, others = (each.reshape(-1).view(np.uint8) for each in (one, other))
    whole = one.nbytes // 8 * 8
    is_same = np.array_equal(words[:whole].view(np.uint64), others[:whole].view(np.uint64))
    return is_same and np.array_equal(words[whole:], others[whole:])
