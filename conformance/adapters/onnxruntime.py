"""
ONNX Runtime: a layer exported to ONNX, from PyTorch or from Keras, and run by an inference session on the CPU.

This module has all code for ONNX Runtime. It must not import a framework before an adapter is made, compute
a shape of its own, or check what the exporter and the runtime are there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ml_dtypes
import numpy as np

from conformance.adapters.keras.model import functional_model
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported
from conformance.adapters.torch.arrays import examples
from conformance.adapters.torch.model import layer_outputs, sequential

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    import torch

PROVIDERS: Final = ("CPUExecutionProvider",)
DISTRIBUTIONS: Final = {"torch": ("torch", "onnxscript"), "keras": ("keras", "torch")}


class OnnxRuntimeAdapter:
    """
    An inference session for what `mode` names: `torch`, by `torch.onnx.export`, or `keras`, by `Model.export`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        import onnxruntime

        self._export = _EXPORTERS[mode]()
        self._distributions = ("onnxruntime", "onnx", *DISTRIBUTIONS[mode], "numpy", "ml_dtypes")
        onnxruntime.set_default_logger_severity(3)
        self._options = onnxruntime.SessionOptions()
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            self._options.intra_op_num_threads = self._options.inter_op_num_threads = int(threads)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of onnxruntime, and of what exports to it."""
        return {each: importlib.metadata.version(each) for each in self._distributions}

    def settings(self) -> Mapping[str, object]:
        """Return the options of a session, read back from them."""
        return {
            "providers": list(PROVIDERS),
            "graph_optimization_level": str(self._options.graph_optimization_level),
            "execution_mode": str(self._options.execution_mode),
            "intra_op_threads": self._options.intra_op_num_threads,
            "inter_op_threads": self._options.inter_op_num_threads,
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`: a session has its provider alone."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> OnnxRuntimeModel:
        """
        Return the stack, exported and loaded into a session.

        Raises:
            Unsupported: `device` is not the CPU.
        """
        if device != "cpu":
            raise Unsupported(f"this adapter has no session on {device}")
        return OnnxRuntimeModel(stack, self._export, self._options)


class OnnxRuntimeModel:
    """An exported stack in an inference session, its batch and other unknown axes dynamic."""

    def __init__(self, stack: Stack, export: Export, options: onnxruntime.SessionOptions) -> None:
        self._stack = stack
        self._options = options
        self._exported = export
        self._output: onnxruntime.OrtValue | None = None
        self._session = self._load(stack, (*(None,) * stack.leading_axes, *stack.input_shape), False)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of a session's outputs; the graph is exported with the output of every layer."""
        session = self._load(self._stack, (batch, *self._stack.input_shape), True)
        (entry,) = session.get_inputs()
        unknown = [each for each in entry.shape if not isinstance(each, int)]
        return [tuple(_axis(each, unknown) for each in output.shape) for output in session.get_outputs()]

    def parameters(self) -> Sequence[Parameter]:
        """Raise: what was a parameter is a constant of a graph, folded and transposed, and never trained."""
        raise Unsupported("a session holds the constants of a graph, and no parameters of layers")

    def parameter_count(self) -> None:
        """Return None: a session counts nothing."""

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) of one run of the session."""
        (entry,) = self._session.get_inputs()
        (self._output,) = self._session.run_with_ort_values(None, {entry.name: from_numpy(x)})
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Raise: a session does not differentiate."""
        raise Unsupported("an inference session does not differentiate")

    def set_weights(self, stack: Stack) -> None:
        """Export the stack anew with other weights: the constants of a session cannot be replaced."""
        self._session = self._load(stack, (*(None,) * stack.leading_axes, *stack.input_shape), False)

    def placement(self) -> str:
        """Return the runtime's name of the device of the last output."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a value of ONNX Runtime has no strides."""

    def _load(self, stack: Stack, shape: Shape, every_layer: bool) -> onnxruntime.InferenceSession:
        import onnxruntime

        model = self._exported(stack, shape, every_layer)
        return onnxruntime.InferenceSession(model.SerializeToString(), self._options, providers=list(PROVIDERS))


#: (stack, shape of the input, whether every layer is an output) -> the exported model.
Export = Callable[[Stack, Shape, bool], "onnx.ModelProto"]


def from_numpy(array: Array) -> onnxruntime.OrtValue:
    """Return a value of the shape and dtype of `array`, a copy where that is not contiguous."""
    import onnx
    import onnxruntime

    contiguous = np.ascontiguousarray(array)
    if array.dtype == ml_dtypes.bfloat16:
        # The runtime has no NumPy bfloat16: the bits are passed as integers of the same width.
        kind = onnx.TensorProto.BFLOAT16
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous.view(np.int16), kind)
    return onnxruntime.OrtValue.ortvalue_from_numpy(contiguous)


def to_numpy(value: onnxruntime.OrtValue) -> Array:
    """Return an array of the value's shape and dtype."""
    return value.numpy()


def placement_of(value: onnxruntime.OrtValue) -> str:
    """Return the runtime's name of the kind of device of a value, such as `cpu`."""
    return str(value.device_name()).lower()


class _FromTorch:
    """An `nn.Sequential` of `nn.Linear`, exported by `torch.onnx.export`, its initializers those of the stack."""

    def __init__(self) -> None:
        # A stack without its weights, as text -> its graph, and the names of its layers there.
        self._traced: dict[str, tuple[onnx.ModelProto, Sequence[str]]] = {}

    def __call__(self, stack: Stack, shape: Shape, every_layer: bool) -> onnx.ModelProto:
        """Return the model; RuntimeError where the exporter left no initializer for a kernel or a bias."""
        import onnx
        from onnxscript import optimizer

        layers = tuple(replace(layer, kernel=None, bias=None) for layer in stack.layers)
        content = repr((replace(stack, layers=layers), shape, every_layer))
        if content not in self._traced:
            self._traced[content] = _trace(stack, shape, every_layer)
        traced, places = self._traced[content]
        model = onnx.ModelProto()
        model.CopyFrom(traced)
        values: dict[str, Array] = {}
        for place, layer in zip(places, stack.layers, strict=True):
            values |= {} if layer.kernel is None else {f"{place}.weight": layer.kernel.T}
            values |= {} if layer.bias is None else {f"{place}.bias": layer.bias}
        for each in model.graph.initializer:
            if each.name in values:
                each.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values.pop(each.name)), each.name))
        if values:
            raise RuntimeError(f"the exported graph has no initializers {sorted(values)}")
        # The second half of what torch.onnx.export does by default; it folds constants.
        return optimizer.optimize(model)


def _trace(stack: Stack, shape: Shape, every_layer: bool) -> tuple[onnx.ModelProto, Sequence[str]]:
    """Return the graph of a stack as it is exported, before constants are folded, and the names of its layers."""
    import torch

    written = sequential(stack)
    places = [name for name, each in written.named_children() if isinstance(each, torch.nn.Linear)]
    units = [layer.units for layer in stack.layers]
    example = torch.zeros(examples(shape, avoid=units), dtype=getattr(torch, stack.dtype))
    unknown = {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
    module = _with_every_layer(written) if every_layer else written
    program = torch.onnx.export(
        module, (example,), dynamic_shapes=(unknown,), dynamo=True, optimize=False, verbose=False
    )
    return program.model_proto, [f"written.{each}" for each in places] if every_layer else places


def _with_every_layer(written: torch.nn.Sequential) -> torch.nn.Module:
    """Return a module that returns the output of every layer."""
    import torch

    class EveryLayer(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        """The modules of an `nn.Sequential`."""

        def __init__(self) -> None:
            super().__init__()
            self.written = written

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(layer_outputs(self.written, x))

    return EveryLayer()


class _FromKeras:
    """A functional model of `keras.layers.Dense`, exported by `Model.export`."""

    def __call__(self, stack: Stack, shape: Shape, every_layer: bool) -> onnx.ModelProto:
        """Return the model that Keras wrote to a file."""
        import keras
        import onnx

        model = functional_model(stack, shape, every_layer=every_layer)
        # Keras exports only what has been called.
        model(keras.ops.zeros(examples(shape, avoid=[layer.units for layer in stack.layers]), stack.dtype))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            # By itself Keras exports every batch as unknown.
            signature = [keras.InputSpec(shape=shape, dtype=stack.dtype)]
            model.export(str(path), format="onnx", verbose=False, input_signature=signature)
            return onnx.load(str(path))


_EXPORTERS: Final[Mapping[str, Callable[[], Export]]] = {"torch": _FromTorch, "keras": _FromKeras}


def _axis(size: int | str | None, unknown: Sequence[object]) -> int | None:
    """
    Return None for an unknown axis of the input, else the size.

    Raises:
        ValueError: it is neither: the runtime knows no more of it than a name of its own.
    """
    if isinstance(size, int):
        return size
    if size not in unknown:
        raise ValueError(f"an output has an axis {size!r}, which no input has")
    return None
