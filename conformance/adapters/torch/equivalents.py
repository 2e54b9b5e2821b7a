"""
PyTorch's other ways to a dense layer: `nn.LazyLinear`, `functional.linear`, and `nn.Conv1d` with a kernel of one.

Everything the suite knows of them is here. The module must not import torch before it is asked for, compute a shape of
its own, or check what PyTorch is there to check.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Protocol

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import torch
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

DEVICES: Final = {"cpu": "cpu", "gpu": "cuda"}


class TorchEquivalentsAdapter:
    """
    PyTorch in eager mode, float32 products at full precision; `mode` is `lazy`, `functional` or `conv1d`.

    Raises:
        KeyError: there is no such mode.
    """

    def __init__(self, *, mode: str) -> None:
        import torch

        self._layer = _LAYERS[mode]
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            torch.set_num_threads(int(threads))

    def versions(self) -> Mapping[str, str]:
        """Return the versions of torch and of what carries arrays to it."""
        return {each: importlib.metadata.version(each) for each in ("torch", "numpy", "ml_dtypes")}

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values and on their repeatability, read back from torch."""
        import torch

        return {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where torch sees a CUDA device."""
        import torch

        return ("cpu", "gpu") if torch.cuda.is_available() else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> TorchEquivalentsModel:
        """
        Return the stack, one layer of the mode's kind for each, on `device`.

        Raises:
            Unsupported: a convolution over one axis of positions is asked of samples with more.
        """
        if self._layer is _Conv1d and len(stack.input_shape) > 2:
            raise Unsupported(f"conv1d takes samples of one axis of positions, not of {len(stack.input_shape) - 1}")
        return TorchEquivalentsModel(stack, self._layer, device=DEVICES[device])


class TorchEquivalentsModel:
    """Layers of one kind, each followed by its activation, called one after the other."""

    def __init__(self, stack: Stack, kind: Callable[..., Layer], *, device: str) -> None:
        import torch

        self._stack = stack
        self._device = device
        self._dtype = getattr(torch, stack.dtype)
        self._handed: tuple[int, ...] | None = None
        self._output: torch.Tensor | None = None
        self._layers: list[Layer] = []
        # A layer is told its input width, unless it waits for an input. A scalar has no last axis: one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            self._layers.append(kind(width, layer, dtype=self._dtype, device=device))
            width = layer.units
        sample = (*(1,) * stack.leading_axes, *stack.input_shape)
        # A layer that waits for an input is shown one of zeros, which says nothing of a last axis that is not known.
        if any(each.waits for each in self._layers) and None not in sample[-1:]:
            with torch.no_grad():
                self._call(torch.zeros([1 if axis is None else axis for axis in sample], dtype=self._dtype).to(device))
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes of fake tensors, batch and other unknown axes symbolic, as they leave each layer."""
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        symbols = ShapeEnv()
        units = [layer.units for layer in self._stack.layers]
        sizes = _sizes((batch, *self._stack.input_shape), symbols, taken=units)
        with torch.no_grad(), FakeTensorMode(shape_env=symbols, allow_non_fake_inputs=True):
            outputs = self._outputs(torch.empty(sizes, dtype=self._dtype, device=self._device))
        unknown = [size.node.expr for size in sizes if isinstance(size, torch.SymInt)]
        return [tuple(_axis(size, unknown) for size in y.shape) for y in outputs]

    def parameters(self) -> Sequence[Parameter]:
        """Return weight and bias of each module, under the names it has for them."""
        names = {"weight": "kernel", "bias": "bias"}
        return [
            Parameter(
                layer=index,
                name=names.get(own, own),
                shape=tuple(each.shape),
                dtype=str(each.dtype).removeprefix("torch."),
                trainable=each.requires_grad,
                reported=f"{index}.{own}",
            )
            for index, layer in enumerate(self._layers)
            for own, each in layer.held().items()
        ]

    def parameter_count(self) -> int:
        """Return the number of elements of all parameters."""
        return sum(each.numel() for layer in self._layers for each in layer.held().values())

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), without recording for differentiation."""
        import torch

        handed = self._hand_over(x)
        with torch.no_grad():
            self._output = self._call(handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what autograd gives for sum(dy * y); each kernel's gradient is handed over as (d, m)."""
        import torch

        handed = self._hand_over(x)
        wanted = [each for layer in self._layers for each in layer.operands() if each is not None]
        if handed.is_floating_point():
            wanted.append(handed.requires_grad_())
        self._output = self._call(handed)
        found = iter(torch.autograd.grad(self._output, wanted, grad_outputs=from_numpy(dy, self._device)))
        layers = tuple(
            (to_numpy(each.as_kernel(next(found))), to_numpy(next(found)) if layer.use_bias else None)
            for each, layer in zip(self._layers, self._stack.layers, strict=True)
        )
        return Gradients(dx=to_numpy(next(found)) if handed.is_floating_point() else None, layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Give each layer its kernel and bias; without kernels do nothing."""
        for each, layer in zip(self._layers, stack.layers, strict=True):
            if layer.kernel is not None:
                bias = None if layer.bias is None else from_numpy(layer.bias, self._device)
                each.load(from_numpy(layer.kernel, self._device), bias)

    def placement(self) -> str:
        """Return the device the last output was on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became."""
        return self._handed

    def _hand_over(self, x: Array) -> torch.Tensor:
        handed = from_numpy(x, self._device)
        self._handed = tuple(stride * handed.element_size() for stride in handed.stride())
        return handed

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return self._outputs(x)[-1]

    def _outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        found = []
        for each, layer in zip(self._layers, self._stack.layers, strict=True):
            x = _activations()[layer.activation](each(x))
            found.append(x)
        return found


class Layer(Protocol):
    """One dense layer of some kind; made of its input width, what the stack says of it, dtype and device."""

    waits: bool
    """Whether it is only made by its first input."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x·W + b of shape (..., m)."""
        ...

    def held(self) -> Mapping[str, torch.Tensor]:
        """Return the parameters by the layer's own names."""
        ...

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what it multiplies by and what it adds, to be differentiated by."""
        ...

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Take a kernel of shape (d, m) and a bias of shape (m,)."""
        ...

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient of what it multiplies by, of shape (d, m)."""
        ...


class _Lazy:
    """`nn.LazyLinear`, told its units alone."""

    waits = True

    def __init__(self, width: Units, layer: Dense, *, dtype: torch.dtype, device: str) -> None:
        import torch

        self._module = torch.nn.LazyLinear(layer.units, bias=layer.use_bias, dtype=dtype, device=device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._module(x)

    def held(self) -> Mapping[str, torch.Tensor]:
        return dict(self._module.named_parameters())

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._module.weight, self._module.bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._module.load_state_dict({"weight": kernel.T, **({} if bias is None else {"bias": bias})})

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.T


class _Functional:
    """`functional.linear` on tensors that the caller holds."""

    waits = False

    def __init__(self, width: Units, layer: Dense, *, dtype: torch.dtype, device: str) -> None:
        if layer.kernel is None:
            raise Unsupported("a function is handed its kernel, and does not make one or refuse to")
        self._weight: torch.Tensor
        self._bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        try:
            return torch.nn.functional.linear(x, self._weight, self._bias)
        except RuntimeError as error:
            if x.dtype != self._weight.dtype:
                raise  # for no reason of shape, and no refusal of what the rule forbids
            raise Unsupported(f"refused in native code, where no frame says by whom: {error}") from error

    def held(self) -> Mapping[str, torch.Tensor]:
        raise Unsupported("a function holds no parameters: its caller does")

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._weight, self._bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        # Tensors of the caller's own: what arrived lies in memory that belongs to the question.
        self._weight = kernel.T.clone().requires_grad_()
        self._bias = None if bias is None else bias.clone().requires_grad_()

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.T


class _Conv1d:
    """`nn.Conv1d` with a kernel of one, which has its channels before the positions: the last axis is moved there."""

    waits = False

    def __init__(self, width: Units, layer: Dense, *, dtype: torch.dtype, device: str) -> None:
        import torch

        self._module = torch.nn.Conv1d(width, layer.units, 1, bias=layer.use_bias, dtype=dtype, device=device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        # A vector has no axis for the channels to be moved before: the layer itself refuses it.
        return self._module(x.movedim(-1, -2)).movedim(-2, -1) if x.ndim > 1 else self._module(x)

    def held(self) -> Mapping[str, torch.Tensor]:
        return dict(self._module.named_parameters())

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._module.weight, self._module.bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._module.load_state_dict({"weight": kernel.T.unsqueeze(-1), **({} if bias is None else {"bias": bias})})

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.squeeze(-1).T


_LAYERS: Final[Mapping[str, Callable[..., Layer]]] = {"lazy": _Lazy, "functional": _Functional, "conv1d": _Conv1d}


def from_numpy(array: Array, device: str = "cpu") -> torch.Tensor:
    """Return a tensor of the shape, dtype and strides of `array` on `device`, on the CPU over the same memory."""
    import torch

    # torch knows no NumPy bfloat16: its bits cross as integers of the same width, which keeps the strides.
    bits = array.view(np.int16) if array.dtype == ml_dtypes.bfloat16 else array
    if not bits.flags.writeable:
        # A broadcast array is read-only, of which torch would warn. The memory is never written to here.
        interface = {**bits.__array_interface__, "data": (bits.__array_interface__["data"][0], False)}
        bits = np.asarray(SimpleNamespace(__array_interface__=interface, owner=bits))
    tensor = torch.from_numpy(bits)
    if tensor.device.type != device:
        # A plain copy to a device closes gaps and undoes broadcasting: move the memory, then lay the same view over it.
        extent = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        memory = tensor.as_strided((extent if tensor.numel() else 0,), (1,)).to(device)
        tensor = memory.as_strided(tensor.shape, tensor.stride())
    return tensor.view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else tensor


def to_numpy(tensor: torch.Tensor) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    import torch

    here = tensor.detach().cpu()
    if here.dtype == torch.bfloat16:
        return here.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return here.numpy()


def placement_of(tensor: torch.Tensor) -> str:
    """Return `cpu`, `gpu`, or torch's own word for a device that is neither."""
    return {own: word for word, own in DEVICES.items()}.get(tensor.device.type, tensor.device.type)


@cache
def _activations() -> Mapping[str, Callable[[torch.Tensor], torch.Tensor]]:
    import torch
    from torch.nn import functional

    return {
        "linear": lambda z: z,
        "relu": functional.relu,
        "sigmoid": functional.sigmoid,
        "softmax": partial(functional.softmax, dim=-1),
        "tanh": functional.tanh,
        "leaky_relu": partial(functional.leaky_relu, negative_slope=0.01),
        "elu": partial(functional.elu, alpha=1.0),
        "selu": functional.selu,
        "softplus": partial(functional.softplus, beta=1.0, threshold=20.0),
        "softsign": functional.softsign,
        "silu": functional.silu,
        "gelu": partial(functional.gelu, approximate="none"),
        "gelu_tanh": partial(functional.gelu, approximate="tanh"),
        "hard_sigmoid": functional.hardsigmoid,
        "log_softmax": partial(functional.log_softmax, dim=-1),
        "exponential": torch.exp,
    }


def _sizes(shape: Shape, symbols: ShapeEnv, taken: Iterable[Units]) -> Sequence[int | torch.SymInt]:
    """Return `shape` with a symbol of its own for each unknown axis."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic

    # A symbol carries an example size.
    return [
        symbols.create_unspecified_symint_and_symbol(example, ConstantSource(f"axis_{axis}"), DimDynamic.DYNAMIC)
        if size is None
        else size
        for axis, (size, example) in enumerate(zip(shape, _examples(shape, taken), strict=True))
    ]


def _examples(shape: Shape, taken: Iterable[Units]) -> Sequence[int]:
    """Return `shape` with an example size of its own for each unknown axis."""
    # 0 and 1 would be taken for constants, and an example like another axis could hide that a batch was bound to it.
    avoided = {*shape, *taken}
    examples = (size for size in count(2) if size not in avoided)
    return [next(examples) if size is None else size for size in shape]


def _axis(size: int | torch.SymInt, unknown: Sequence[object]) -> int | None:
    """Return None for an unknown axis, else the constant: that to which torch bound it, if it bound a symbol."""
    return None if not isinstance(size, int) and size.node.expr in unknown else int(size)
