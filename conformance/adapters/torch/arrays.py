"""
What the adapters on PyTorch share: arrays, devices, flags, activations, parameters, differentiation, unknown axes.

Nothing here knows of a layer, or computes a shape. The module must not import torch before an adapter is made.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Parameter, Shape, Units

if TYPE_CHECKING:
    import torch
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

DEVICES: Final = {"cpu": "cpu", "gpu": "cuda"}
#: torch's names of parameters -> those of the protocol.
_NAMES: Final = {"weight": "kernel", "bias": "bias"}


def set_flags() -> None:
    """Let torch compute float32 products in float32 on every device, with as many threads as the suite grants."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if threads := os.environ.get("CONFORMANCE_THREADS"):
        torch.set_num_threads(int(threads))


def versions() -> Mapping[str, str]:
    """Return the versions of torch and of what carries arrays to it."""
    return {each: importlib.metadata.version(each) for each in ("torch", "numpy", "ml_dtypes")}


def settings() -> Mapping[str, object]:
    """Return the flags that bear on values and on their repeatability, read back from torch."""
    import torch

    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cuda.matmul.allow_fp16_reduced_precision_reduction": (
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
        ),
        "cuda.matmul.allow_bf16_reduced_precision_reduction": (
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
        ),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
    }


def devices() -> Sequence[str]:
    """Return `cpu`, and `gpu` where torch sees a CUDA device."""
    import torch

    return ("cpu", "gpu") if torch.cuda.is_available() else ("cpu",)


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


def strides_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the strides of a tensor in bytes."""
    return tuple(stride * tensor.element_size() for stride in tensor.stride())


def placement_of(tensor: torch.Tensor | None) -> str:
    """
    Return `cpu`, `gpu`, or torch's own word for a device that is neither.

    Raises:
        RuntimeError: there is no tensor, since nothing has been computed.
    """
    if tensor is None:
        raise RuntimeError("nothing has been computed yet")
    return {own: word for word, own in DEVICES.items()}.get(tensor.device.type, tensor.device.type)


def parameter_of(tensor: torch.Tensor, *, layer: int, own: str, reported: str) -> Parameter:
    """Return the parameter `own` of a layer, under the name torch reports for it."""
    return Parameter(
        layer=layer,
        name=_NAMES.get(own, own),
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        trainable=tensor.requires_grad,
        reported=reported,
    )


def differentiate(
    call: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, operands: Sequence[torch.Tensor], dy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None, Sequence[torch.Tensor]]:
    """
    Return the output y of `call(x)`, dx, and the gradient of each operand, by autograd of sum(dy * y).

    dx is None for an input that is not floating.

    Raises:
        RuntimeError: the call does not use an operand.
    """
    import torch

    wanted = [*operands, x.requires_grad_()] if x.is_floating_point() else [*operands]
    y = call(x)
    found = torch.autograd.grad(y, wanted, grad_outputs=dy)
    count = len(operands)
    return y, found[count] if len(found) > count else None, found[:count]


@cache
def activations() -> Mapping[str, Callable[[], list[torch.nn.Module]]]:
    """Return what makes the modules that follow a layer, none or one, by the name of its activation."""
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


def inferred_shapes(
    outputs: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    shape: Shape,
    *,
    avoid: Iterable[Units],
    dtype: torch.dtype,
    device: str,
) -> Sequence[Shape]:
    """Return the shapes of what `outputs` makes of a fake tensor of `shape`, whose unknown axes are symbolic."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    symbols = ShapeEnv()
    sizes = _sizes(shape, symbols, avoid)
    mode = FakeTensorMode(shape_env=symbols, allow_non_fake_inputs=True)
    # The symbols are new in every call, so that no entry of its cache is ever found again.
    mode.cache_enabled = False
    with torch.no_grad(), mode:
        found = outputs(torch.empty(sizes, dtype=dtype, device=device))
    return without_symbols([each.shape for each in found], [size for size in sizes if isinstance(size, torch.SymInt)])


def _sizes(shape: Shape, symbols: ShapeEnv, avoid: Iterable[Units]) -> Sequence[int | torch.SymInt]:
    """Return `shape` with a symbol of its own for each unknown axis."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic

    # A symbol carries an example size.
    return [
        symbols.create_unspecified_symint_and_symbol(example, ConstantSource(f"axis_{axis}"), DimDynamic.DYNAMIC)
        if size is None
        else size
        for axis, (size, example) in enumerate(zip(shape, examples(shape, avoid), strict=True))
    ]


def examples(shape: Shape, avoid: Iterable[Units]) -> Sequence[int]:
    """Return `shape` with an example size of its own for each unknown axis."""
    # 0 and 1 would be taken for constants, and an example like another axis could hide that a batch was bound to it.
    avoided = {*shape, *avoid}
    free = (size for size in count(2) if size not in avoided)
    return [next(free) if size is None else size for size in shape]


def without_symbols(shapes: Iterable[Sequence[Any]], symbols: Iterable[Any]) -> Sequence[Shape]:
    """
    Return `shapes` with None for an unknown axis.

    An axis is unknown while its size is one of `symbols`; torch may have bound a symbol to a constant.
    """
    unknown = [symbol.node.expr for symbol in symbols]
    return [
        tuple(None if not isinstance(size, int) and size.node.expr in unknown else int(size) for size in each)
        for each in shapes
    ]
