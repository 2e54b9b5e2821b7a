"""The steps of a question as the templates see them, with the arrays that are handed over, each written once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from conformance.adapters.protocol import Array, Stack
from conformance.run.reproduce.arrays import Arrays
from conformance.run.reproduce.template_names import Layer, Lines, Tensor, arranged
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step
from conformance.table.case import Case


class StepLines:
    """
    Makes the lines of steps, one after the other.

    Where the layers are `weightless`, their initial weights stay, and inputs are zeros.
    """

    def __init__(self, layers: Sequence[Layer], arrays: Arrays, case: Case, *, weightless: bool) -> None:
        self._layers, self._arrays, self._case, self._weightless = layers, arrays, case, weightless
        #: The label of each forward step -> the name of its output.
        self.answers: dict[str, str] = {}
        self._handed: dict[tuple[int, str], Tensor] = {}
        #: Kernels and biases by name, as the last step that gave weights gave them.
        self._given: dict[str, Array] = {}

    def lines_of(self, steps: Sequence[Step]) -> list[Lines]:
        """Return the lines of steps."""
        several = sum(isinstance(each, Forward) for each in steps) > 1
        return [self._lines(each, several=several) for each in steps]

    def _lines(self, step: Step, *, several: bool) -> Lines:
        line = Lines(kind="", model="model" if step.model == "main" else re.sub(r"\W", "_", step.model))
        match step:
            case Build() | SetWeights():
                line.kind = "build" if isinstance(step, Build) else "weights"
                line.shape, line.leading = step.stack.input_shape, step.stack.leading_axes
                line.given = not self._weightless and all(each.kernel is not None for each in step.stack.layers)
                line.arrays = list(self._weights(step.stack)) if line.given else []
            case Forward():
                line.kind = "forward"
                line.x, line.tensors = self._tensor(step.x, step.layout, "x")
                line.y = self.answers[step.label] = f"y{len(self.answers) + 1}" if several else "y"
            case Differentiate():
                line.kind = "differentiate"
                line.x, line.tensors = self._tensor(step.x, step.layout, "x")
                line.dy, more = self._tensor(step.dy, "contiguous", "dy")
                line.tensors = [*line.tensors, *more]
            case InferShapes():
                line.kind, line.shape = "infer", self._case.input_shape
            case ReadParameters():
                line.kind = "parameters"
        return line

    def _tensor(self, array: Array, layout: str, part: str) -> tuple[Tensor, list[Tensor]]:
        """Return the tensor of an array, and the tensors that have to be written for it."""
        key = (id(array), layout)
        if key in self._handed:
            return self._handed[key], []
        number = sum(each.name.startswith(part) for each in self._handed.values())
        given = np.zeros_like(array) if self._weightless else array
        self._handed[key] = Tensor(
            name=part + (str(number + 1) if number else ""),
            expression=arranged(self._arrays.expression(given, part), array, layout),
            dtype=array.dtype.name,
            strided=layout != "contiguous",
            rank=array.ndim,
        )
        return self._handed[key], [self._handed[key]]

    def _weights(self, stack: Stack) -> Iterator[Tensor]:
        """Yield kernels and biases that are not written already."""
        for layer, each in zip(self._layers, stack.layers, strict=True):
            for name, part, array in (
                (layer.kernel, f"kernel {layer.index}", each.kernel),
                (layer.bias, f"bias {layer.index}", each.bias),
            ):
                if array is not None and self._given.get(name) is not array:
                    self._given[name] = array
                    yield Tensor(name=name, expression=self._arrays.expression(array, part))
