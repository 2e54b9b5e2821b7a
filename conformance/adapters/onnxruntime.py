"""
ONNX Runtime: a layer exported to ONNX, from PyTorch or from Keras, and run by an inference session on the CPU.

Everything the suite knows of ONNX Runtime is here. The module must not import a framework before it is asked for,
compute a shape of its own, or check what the exporter and the runtime are there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units, Unsupported

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
        """Return `cpu`: sessions are asked for its provider alone."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> OnnxRuntimeModel:
        """
        Return the stack, exported and loaded into a session.

        Raises:
            Unsupported: another device than the CPU is asked for.
        """
        if device != "cpu":
            raise Unsupported(f"no session was asked for on {device}")
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
        """Return the shapes a session says its outputs have, of a graph exported with the output of every layer."""
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
        """Return the device the last output is on, in the runtime's own words."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a value of ONNX Runtime has no strides."""

    def _load(self, stack: Stack, shape: Shape, every_layer: bool) -> onnxruntime.InferenceSession:
        import onnxruntime

        model = self._exported(stack, shape, every_layer)
        return onnxruntime.InferenceSession(model.SerializeToString(), self._options, providers=list(PROVIDERS))


#: (stack, shape of the input, whether the output of every layer is wanted) -> the exported model.
Export = Callable[[Stack, Shape, bool], "onnx.ModelProto"]


def from_numpy(array: Array) -> onnxruntime.OrtValue:
    """Return a value of the shape and dtype of `array`, a copy where that is not contiguous."""
    import onnx
    import onnxruntime

    contiguous = np.ascontiguousarray(array)
    if array.dtype == ml_dtypes.bfloat16:
        # The runtime knows no NumPy bfloat16: its bits cross as integers of the same width.
        kind = onnx.TensorProto.BFLOAT16
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous.view(np.int16), kind)
    return onnxruntime.OrtValue.ortvalue_from_numpy(contiguous)


def to_numpy(value: onnxruntime.OrtValue) -> Array:
    """Return an array of the value's shape and dtype."""
    return value.numpy()


def placement_of(value: onnxruntime.OrtValue) -> str:
    """Return the runtime's word for the kind of device a value is on, such as `cpu`."""
    return str(value.device_name()).lower()


class _FromTorch:
    """An `nn.Sequential` of `nn.Linear`, exported by `torch.onnx.export`, its initializers those of the stack."""

    def __init__(self) -> None:
        # What a stack says but its weights -> the graph, and where its layers are.
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
        # The second half of what torch.onnx.export does unless told otherwise; it folds constants.
        return optimizer.optimize(model)


def _trace(stack: Stack, shape: Shape, every_layer: bool) -> tuple[onnx.ModelProto, Sequence[str]]:
    """Return the graph of a stack as it is exported, before constants are folded, and the names of its layers."""
    import torch

    modules: list[torch.nn.Module] = []
    dtype = getattr(torch, stack.dtype)
    # nn.Linear is told its input width. A scalar has no last axis to read it from: one number, one feature.
    width: Units = stack.input_shape[-1] if stack.input_shape else 1
    for layer in stack.layers:
        modules.append(torch.nn.Linear(width, layer.units, bias=layer.use_bias, dtype=dtype))
        modules += _torch_activations()[layer.activation]()
        width = layer.units
    written = torch.nn.Sequential(*modules)
    places = [name for name, each in written.named_children() if isinstance(each, torch.nn.Linear)]
    example = torch.zeros(_examples(shape, taken=[layer.units for layer in stack.layers]), dtype=dtype)
    unknown = {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
    module = _with_every_layer(written) if every_layer else written
    program = torch.onnx.export(
        module, (example,), dynamic_shapes=(unknown,), dynamo=True, optimize=False, verbose=False
    )
    return program.model_proto, [f"written.{each}" for each in places] if every_layer else places


def _with_every_layer(written: torch.nn.Sequential) -> torch.nn.Module:
    """Return a module that gives out the output of every layer."""
    import torch

    class EveryLayer(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        """The modules of an `nn.Sequential`, an activation counted to the layer before it."""

        def __init__(self) -> None:
            super().__init__()
            self.written = written

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found: list[torch.Tensor] = []
            for module in self.written:
                x = module(x)
                if not isinstance(module, torch.nn.Linear):
                    found.pop()
                found.append(x)
            return tuple(found)

    return EveryLayer()


class _FromKeras:
    """A functional model of `keras.layers.Dense`, exported by `Model.export`."""

    def __call__(self, stack: Stack, shape: Shape, every_layer: bool) -> onnx.ModelProto:
        """Return the model that Keras wrote to a file."""
        import keras
        import onnx

        entry = keras.Input(batch_shape=shape, dtype=stack.dtype)
        denses, outputs = [], [entry]
        for layer in stack.layers:
            activation = _keras_activations()[layer.activation]
            dense = keras.layers.Dense(layer.units, activation=activation, use_bias=layer.use_bias, dtype=stack.dtype)
            denses.append(dense)
            outputs.append(dense(outputs[-1]))
        for dense, layer in zip(denses, stack.layers, strict=True):
            if layer.kernel is not None:
                dense.set_weights([layer.kernel, *([] if layer.bias is None else [layer.bias])])
        model = keras.Model(entry, outputs[1:] if every_layer else outputs[-1])
        # Keras exports only what has been called.
        model(keras.ops.zeros(_examples(shape, taken=[layer.units for layer in stack.layers]), stack.dtype))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            model.export(str(path), format="onnx", verbose=False)
            return onnx.load(str(path))


_EXPORTERS: Final[Mapping[str, Callable[[], Export]]] = {"torch": _FromTorch, "keras": _FromKeras}


def _torch_activations() -> Mapping[str, Callable[[], list[torch.nn.Module]]]:
    from torch import nn

    class Exponential(nn.Module):  # type: ignore[misc]  # torch is not typed here
        """torch.exp, for which torch.nn has no module."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp()

    return {
        "linear": list,
        "relu": lambda: [nn.ReLU()],
        "sigmoid": lambda: [nn.Sigmoid()],
        "softmax": lambda: [nn.Softmax(dim=-1)],
        "tanh": lambda: [nn.Tanh()],
        "leaky_relu": lambda: [nn.LeakyReLU(negative_slope=0.01)],
        "elu": lambda: [nn.ELU(alpha=1.0)],
        "selu": lambda: [nn.SELU()],
        "softplus": lambda: [nn.Softplus(beta=1.0, threshold=20.0)],
        "softsign": lambda: [nn.Softsign()],
        "silu": lambda: [nn.SiLU()],
        "gelu": lambda: [nn.GELU(approximate="none")],
        "gelu_tanh": lambda: [nn.GELU(approximate="tanh")],
        "hard_sigmoid": lambda: [nn.Hardsigmoid()],
        "log_softmax": lambda: [nn.LogSoftmax(dim=-1)],
        "exponential": lambda: [Exponential()],
    }


@cache
def _keras_activations() -> Mapping[str, str | Callable[[Any], Any]]:
    """Return what a layer is told, by name: Keras's own word, or its function where there is a parameter to pin."""
    from keras import activations

    words = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "silu", "hard_sigmoid")
    return {
        **{each: each for each in words},
        "leaky_relu": partial(activations.leaky_relu, negative_slope=0.01),
        "elu": partial(activations.elu, alpha=1.0),
        "gelu": partial(activations.gelu, approximate=False),
        "gelu_tanh": partial(activations.gelu, approximate=True),
        "log_softmax": partial(activations.log_softmax, axis=-1),
        "exponential": activations.exponential,
    }


def _examples(shape: Shape, taken: Iterable[Units]) -> Sequence[int]:
    """Return `shape` with an example size of its own for each unknown axis."""
    # 0 and 1 would be taken for constants, and an example like another axis could hide that a batch was bound to it.
    avoided = {*shape, *taken}
    examples = (size for size in count(2) if size not in avoided)
    return [next(examples) if size is None else size for size in shape]


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
