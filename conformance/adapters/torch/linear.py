"""
PyTorch: `nn.Linear` and activation modules in an `nn.Sequential`, eager, compiled, exported, or on the meta device.

The module must not import torch before it is asked for, compute a shape of its own, or check what PyTorch is there to
check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units, Unsupported
from conformance.adapters.torch.arrays import (
    DEVICES,
    activations,
    devices,
    examples,
    from_numpy,
    inferred_shapes,
    known,
    parameter_of,
    placement_of,
    set_flags,
    settings,
    strides_of,
    to_numpy,
    versions,
)
from conformance.adapters.torch.compilation import compiled_call, compiler

if TYPE_CHECKING:
    import torch

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
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        self._mode = mode
        set_flags()
        if mode == "compile":
            compiler()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of torch and of what carries arrays to it."""
        return versions()

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values and on their repeatability, read back from torch."""
        compiling = {"compile_backend": compiler().name, "dynamic": False} if self._mode == "compile" else {}
        return {**settings(), **compiling}

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where torch sees a CUDA device."""
        return devices()

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
        following = activations()
        modules: list[torch.nn.Module] = []
        # nn.Linear is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            modules.append(
                torch.nn.Linear(width, layer.units, bias=layer.use_bias, dtype=self._dtype, device=self._device)
            )
            modules += following[layer.activation]()
            width = layer.units
        self._written = self._module = torch.nn.Sequential(*modules)
        self._program: torch.export.ExportedProgram | None = None
        if mode == "export":
            # One program for every batch: leading axes stay unknown, as do those of the input that are.
            self._program = self._export((*(None,) * stack.leading_axes, *stack.input_shape))
            self._module = self._program.module()
        self._call = compiled_call(self._module) if mode == "compile" else self._module
        # An exported module keeps the layers' places and parameters, and not their classes.
        owners = {name.partition(".")[0] for name, _ in self._module.named_parameters()}
        self._linears = {name: each for name, each in self._module.named_children() if name in owners}
        self._handed: tuple[int, ...] | None = None
        self._output: torch.Tensor | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes as they leave each layer: an exported program's own, else those of fake tensors."""
        shape = (batch, *self._stack.input_shape)
        if self._program is not None:
            # What was exported with an unknown batch is asked as it is.
            alike = batch is None and self._stack.leading_axes == 1
            return _exported_shapes(self._program if alike else self._export(shape), shape, self._written)
        taken = self._units()
        return inferred_shapes(self._layer_outputs, shape, taken=taken, dtype=self._dtype, device=self._device)

    def _layer_outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return what leaves each layer, its activation included."""
        import torch

        found: list[torch.Tensor] = []
        for module in self._written:
            x = module(x)
            if not isinstance(module, torch.nn.Linear):
                found.pop()  # an activation belongs to the layer before it
            found.append(x)
        return found

    def _export(self, shape: Shape) -> torch.export.ExportedProgram:
        """Return the program for inputs of `shape`, whose unknown axes stay so."""
        import torch

        example = torch.zeros(examples(shape, taken=self._units()), dtype=self._dtype, device=self._device)
        unknown = {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
        return torch.export.export(self._written, (example,), dynamic_shapes=(unknown,))

    def _units(self) -> Sequence[Units]:
        return [layer.units for layer in self._stack.layers]

    def parameters(self) -> Sequence[Parameter]:
        """Return weight (m, d) and bias (m,) of each `nn.Linear`, under the names `state_dict` has for them."""
        return [
            parameter_of(each, layer=index, own=own, reported=f"{prefix}.{own}")
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
        self._handed = strides_of(handed)
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
        return placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the tensor the last input became."""
        return self._handed


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
    symbols = [size for size, given in zip(sizes, shape, strict=True) if given is None]
    found: list[Any] = []
    for place, module in written.named_children():
        if not isinstance(module, torch.nn.Linear):
            found.pop()  # an activation belongs to the layer before it
        found.append(outputs[place])
    return known(found, symbols)
