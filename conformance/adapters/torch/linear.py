"""
PyTorch: `nn.Linear` and activation modules in an `nn.Sequential`, eager, compiled, exported, or on the meta device.

The module must not import torch before an adapter is made, compute a shape of its own, or check what PyTorch is there
to check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.protocol import Array, Parameter, Shape, Stack, Unsupported
from conformance.adapters.torch.arrays import DEVICES, examples, from_numpy, parameter_of, without_symbols
from conformance.adapters.torch.compilation import compiled_call, compiler
from conformance.adapters.torch.inference import shapes_from_examples
from conformance.adapters.torch.model import TorchAdapterBase, TorchModelBase, layer_outputs, sequential

if TYPE_CHECKING:
    import torch

MODES: Final = (None, "compile", "export", "meta")


class TorchAdapter(TorchAdapterBase):
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
        super().__init__()
        if mode == "compile":
            compiler()

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values and on their repeatability, read back from torch."""
        compiling = {"compile_backend": compiler().name, "dynamic": False} if self._mode == "compile" else {}
        return {**super().settings(), **compiling}

    def build(self, stack: Stack, *, device: str) -> TorchModel:
        """Return the stack as an `nn.Sequential` on `device`, in the mode's form."""
        return TorchModel(stack, device="meta" if self._mode == "meta" else DEVICES[device], mode=self._mode)


class TorchModel(TorchModelBase):
    """An `nn.Sequential` of `nn.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: str, mode: str | None) -> None:
        super().__init__(stack, device=device)
        self._written = self._module = sequential(stack, device)
        self._program: torch.export.ExportedProgram | None = None
        if mode == "export":
            # One program for every batch: leading axes stay unknown, as do those of the input that are.
            self._program = self._export((*(None,) * stack.leading_axes, *stack.input_shape))
            self._module = self._program.module()
        self._call = compiled_call(self._module) if mode == "compile" else self._module
        # An exported module keeps the layers' places and parameters, and not their classes.
        owners = {name.partition(".")[0] for name, _ in self._module.named_parameters()}
        self._linears = {name: each for name, each in self._module.named_children() if name in owners}
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes as they leave each layer: an exported program's own, else those on the meta device."""
        if self._program is None:
            return shapes_from_examples(self._written, self._stack, batch)
        shape = (batch, *self._stack.input_shape)
        # The program with an unknown batch is there already.
        alike = batch is None and self._stack.leading_axes == 1
        return _exported_shapes(self._program if alike else self._export(shape), shape, self._written)

    def _layer_outputs(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        return layer_outputs(self._written, x)

    def _export(self, shape: Shape) -> torch.export.ExportedProgram:
        """Return the program for inputs of `shape`, whose unknown axes stay so."""
        import torch

        units = [layer.units for layer in self._stack.layers]
        example = torch.zeros(examples(shape, avoid=units), dtype=self._dtype, device=self._device)
        unknown = {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
        return torch.export.export(self._written, (example,), dynamic_shapes=(unknown,))

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

    def _compute(self, x: torch.Tensor) -> torch.Tensor:
        return self._call(x)

    def _operands(self) -> Sequence[torch.Tensor]:
        return [each for linear in self._linears.values() for each in linear.parameters()]

    def _hand_over(self, x: Array) -> torch.Tensor:
        if self._device == "meta":
            raise Unsupported("a tensor on the meta device has no values")
        return super()._hand_over(x)

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
    return without_symbols(found, symbols)
