"""The steps of a question as lines for the templates, with the arrays of each step, every array written once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from conformance.adapters.protocol import Array
from conformance.run.reproduce.arrays import Arrays
from conformance.run.reproduce.template_names import Layer, Lines, Tensor, arranged
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step
from conformance.table.case import Case


class StepLines:
    """
    The lines of the steps of one script.

    Args:
        weightless: whether the layers keep their initial weights, and inputs are zeros.
    """

    def __init__(self, layers: Sequence[Layer], arrays: Arrays, case: Case, *, weightless: bool) -> None:
        self._layers, self._arrays, self._case, self._weightless = layers, arrays, case, weightless
        #: The label of each forward step -> the name of its output.
        self.answers: dict[str, str] = {}
        self._inputs: dict[tuple[int, str], Tensor] = {}
        #: Kernels and biases by name, as the last step that set weights set them, with their layouts.
        self._written: dict[str, tuple[Array, str]] = {}

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
                line.arrays = list(self._weights(step)) if line.given else []
            case Forward():
                line.kind = "forward"
                line.x, line.tensors = self._tensor(step.x, step.layout, "x")
                line.y = self.answers[step.label] = f"y{len(self.answers) + 1}" if several else "y"
            case Differentiate():
                line.kind = "differentiate"
                line.x, line.tensors = self._tensor(step.x, step.layout, "x")
                line.dy, more = self._tensor(step.dy, step.dy_layout, "dy")
                line.tensors = [*line.tensors, *more]
            case InferShapes():
                line.kind, line.shape = "infer", self._case.input_shape
            case ReadParameters():
                line.kind = "parameters"
        return line

    def _tensor(self, array: Array, layout: str, part: str) -> tuple[Tensor, list[Tensor]]:
        """Return the tensor of an array, and the tensors to write before it is used."""
        key = (id(array), layout)
        if key in self._inputs:
            return self._inputs[key], []
        number = sum(each.name.startswith(part) for each in self._inputs.values())
        values = np.zeros_like(array) if self._weightless else array
        self._inputs[key] = Tensor(
            name=part + (str(number + 1) if number else ""),
            expression=arranged(self._arrays.expression(values, part), array, layout),
            dtype=array.dtype.name,
            strided=layout != "contiguous",
            rank=array.ndim,
        )
        return self._inputs[key], [self._inputs[key]]

    def _weights(self, step: Build | SetWeights) -> Iterator[Tensor]:
        """Yield the kernels and biases that are not written yet."""
        kernel_layout = step.kernel_layout if isinstance(step, SetWeights) else "contiguous"
        bias_layout = step.bias_layout if isinstance(step, SetWeights) else "contiguous"
        for layer, each in zip(self._layers, step.stack.layers, strict=True):
            for name, part, array, layout in (
                (layer.kernel, f"kernel {layer.index}", each.kernel, kernel_layout),
                (layer.bias, f"bias {layer.index}", each.bias, bias_layout),
            ):
                written, written_layout = self._written.get(name, (None, ""))
                if array is not None and (written is not array or written_layout != layout):
                    self._written[name] = (array, layout)
                    expression = arranged(self._arrays.expression(array, part), array, layout)
                    yield Tensor(name=name, expression=expression)
