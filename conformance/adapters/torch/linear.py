"""
PyTorch: `nn.Linear` and activation modules in an `nn.Sequential`, eager, compiled, exported, or on the meta device.

Everything the suite knows of PyTorch is here. The module must not import torch before it is asked for, compute a shape
of its own, or check what PyTorch is there to check.
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

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import torch
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

DEVICES: Final = {"cpu": "cpu", "gpu": "cuda"}
MODES: Final = (None, "compile", "export", "meta")


class TorchAdapter:
    """
    PyTorch, float32 products at full precision.

    `mode` is None for eager calls, `compile` for `torch.compile`, `export` for the module that `torch.export` gives, or
    `meta` for tensors that have shapes and no values.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(self, *, mode: str | None = None) -> None:
        import torch

        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        self._mode = mode
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            torch.set_num_threads(int(threads))
        if mode == "compile":
            _compiler()

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
            **({"compile_backend": _compiler().name, "dynamic": False} if self._mode == "compile" else {}),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where torch sees a CUDA device."""
        import torch

        return ("cpu", "gpu") if torch.cuda.is_available() else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> TorchModel:
        """Return the stack as an `nn.Sequential` on `device`, treated as the mode says."""
        return TorchModel(stack, device="meta" if self._mode == "meta" else DEVICES[device], mode=self._mode)


class TorchModel:
    """An `nn.Sequential` of `nn.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: str, mode: str | None) -> None:
        import torch

        self._stack = stack
        self._device = device
        self._dtype = getattr(torch, stack.dtype)
        activations = _activations()
        modules: list[torch.nn.Module] = []
        # nn.Linear is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            modules.append(
                torch.nn.Linear(width, layer.units, bias=layer.use_bias, dtype=self._dtype, device=self._device)
            )
            modules += activations[layer.activation]()
            width = layer.units
        self._written = self._module = torch.nn.Sequential(*modules)
        self._program: torch.export.ExportedProgram | None = None
        if mode == "export":
            # One program for every batch: leading axes stay unknown, as do those of the input that are.
            self._program = self._export((*(None,) * stack.leading_axes, *stack.input_shape))
            self._module = self._program.module()
        self._call = _compiled(self._module) if mode == "compile" else self._module
        # An exported module keeps the layers' places and parameters, and not their classes.
        owners = {name.partition(".")[0] for name, _ in self._module.named_parameters()}
        self._linears = {name: each for name, each in self._module.named_children() if name in owners}
        self._handed: tuple[int, ...] | None = None
        self._output: torch.Tensor | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes as they leave each layer: an exported program's own, else those of fake tensors."""
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        shape = (batch, *self._stack.input_shape)
        if self._program is not None:
            # What was exported with an unknown batch is asked as it is.
            alike = batch is None and self._stack.leading_axes == 1
            return _exported_shapes(self._program if alike else self._export(shape), shape, self._written)
        symbols = ShapeEnv()
        sizes = _sizes(shape, symbols, taken=self._units())
        outputs: list[torch.Tensor] = []
        with torch.no_grad(), FakeTensorMode(shape_env=symbols, allow_non_fake_inputs=True):
            y = torch.empty(sizes, dtype=self._dtype, device=self._device)
            for module in self._written:
                y = module(y)
                if not isinstance(module, torch.nn.Linear):
                    outputs.pop()  # an activation belongs to the layer before it
                outputs.append(y)
        unknown = [size.node.expr for size in sizes if isinstance(size, torch.SymInt)]
        return [tuple(_axis(size, unknown) for size in y.shape) for y in outputs]

    def _export(self, shape: Shape) -> torch.export.ExportedProgram:
        """Return the program for inputs of `shape`, whose unknown axes stay so."""
        import torch

        example = torch.zeros(_examples(shape, taken=self._units()), dtype=self._dtype, device=self._device)
        unknown = {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
        return torch.export.export(self._written, (example,), dynamic_shapes=(unknown,))

    def _units(self) -> Sequence[Units]:
        return [layer.units for layer in self._stack.layers]

    def parameters(self) -> Sequence[Parameter]:
        """Return weight (m, d) and bias (m,) of each `nn.Linear`, under the names `state_dict` has for them."""
        names = {"weight": "kernel", "bias": "bias"}
        return [
            Parameter(
                layer=index,
                name=names.get(own, own),
                shape=tuple(each.shape),
                dtype=str(each.dtype).removeprefix("torch."),
                trainable=each.requires_grad,
                reported=f"{prefix}.{own}",
            )
            for index, (prefix, linear) in enumerate(self._linears.items())
            for own, each in linear.named_parameters()
        ]

    def parameter_count(self) -> int:
        """Return the number of elements of all parameters of the module."""
        return sum(each.numel() for each in self._module.parameters())

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), without recording for differentiation."""
        import torch

        handed = self._hand_over(x)
        with torch.no_grad():
            self._output = self._call(handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what autograd gives for sum(dy * y); the weight's gradient (m, d) is handed over as (d, m)."""
        import torch

        handed = self._hand_over(x)
        wanted = [each for linear in self._linears.values() for each in linear.parameters()]
        if handed.is_floating_point():
            wanted.append(handed.requires_grad_())
        self._output = self._call(handed)
        found = iter(torch.autograd.grad(self._output, wanted, grad_outputs=from_numpy(dy, self._device)))
        layers = tuple(
            (to_numpy(next(found).T), to_numpy(next(found)) if layer.use_bias else None) for layer in self._stack.layers
        )
        return Gradients(dx=to_numpy(next(found)) if handed.is_floating_point() else None, layers=layers)

    def _hand_over(self, x: Array) -> torch.Tensor:
        if self._device == "meta":
            raise Unsupported("a tensor on the meta device has no values")
        handed = from_numpy(x, self._device)
        self._handed = tuple(stride * handed.element_size() for stride in handed.stride())
        return handed

    def set_weights(self, stack: Stack) -> None:
        """Load kernels and biases through `load_state_dict`, which refuses other shapes; without kernels do nothing."""
        state = {}
        for name, layer in zip(self._linears, stack.layers, strict=True):
            if layer.kernel is not None:
                state[f"{name}.weight"] = from_numpy(layer.kernel, self._device).T
            if layer.bias is not None:
                state[f"{name}.bias"] = from_numpy(layer.bias, self._device)
        if state:
            self._module.load_state_dict(state)

    def placement(self) -> str:
        """Return the device the last output was on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became."""
        return self._handed


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


def _activations() -> Mapping[str, Callable[[], list[torch.nn.Module]]]:
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


def _exported_shapes(
    program: torch.export.ExportedProgram, shape: Shape, written: torch.nn.Sequential
) -> Sequence[Shape]:
    """Return the shapes a program records where each layer of the `nn.Sequential` it was exported from ends."""
    import torch

    inputs = set(program.graph_signature.user_inputs)
    outputs: dict[str, Any] = {}
    sizes: Sequence[Any] = ()
    for node in program.graph.nodes:
        if node.name in inputs:
            sizes = node.meta["val"].shape
        if node.meta.get("nn_module_stack"):
            place, _ = list(node.meta["nn_module_stack"].values())[-1]
            outputs[place] = node.meta["val"].shape
    unknown = [size.node.expr for size, known in zip(sizes, shape, strict=True) if known is None]
    found: list[Any] = []
    for place, module in written.named_children():
        if not isinstance(module, torch.nn.Linear):
            found.pop()  # an activation belongs to the layer before it
        found.append(outputs[place])
    return [tuple(_axis(size, unknown) for size in each) for each in found]


class _Compiler:
    """The backend that `torch.compile` is given: torch's own, with a count of how often what it compiled was run."""

    def __init__(self) -> None:
        import torch._dynamo as dynamo
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
            self.name = "inductor"
        except InvalidCxxCompiler:
            self.name = "aot_eager"
        self.runs = 0
        self._backend = dynamo.lookup_backend(self.name)
        # Every model and every shape is compiled anew; beyond its limits torch would go on in eager mode.
        dynamo.config.recompile_limit = dynamo.config.accumulated_recompile_limit = 2**31
        dynamo.config.fail_on_recompile_limit_hit = True

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        compiled = self._backend(graph, inputs)

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return compiled(*arguments)

        return run


@cache
def _compiler() -> _Compiler:
    """Return the one backend of this process, so that models of equal structure share what was compiled."""
    return _Compiler()


def _compiled(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the compiled call of a module; it raises RuntimeError where no compiled graph was run."""
    import torch

    compiler = _compiler()
    call = torch.compile(module, backend=compiler, fullgraph=True, dynamic=False)

    def compiled(x: torch.Tensor) -> torch.Tensor:
        before = compiler.runs
        y = call(x)
        if compiler.runs == before:
            raise RuntimeError("no compiled graph was run: torch went back to eager mode")
        return y

    return compiled
