"""
The layers of PyTorch's other ways to a dense layer, which take and return weights as (d, m) and (m,).

The module must not import torch before an adapter is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from conformance.adapters.protocol import Dense, Units, Unsupported

if TYPE_CHECKING:
    import torch


class Layer(Protocol):
    """One dense layer of some kind; made of its input width, its `Dense` of the stack, dtype and device."""

    #: Whether its weights are only made by its first input.
    waits: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x·W + b of shape (..., m)."""
        ...

    def parameters(self) -> Mapping[str, torch.Tensor]:
        """Return the parameters by the layer's own names."""
        ...

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the tensors that it multiplies by and adds, to differentiate by."""
        ...

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Take a kernel of shape (d, m) and a bias of shape (m,)."""
        ...

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient of what it multiplies by, of shape (d, m)."""
        ...


class _Lazy:
    """`nn.LazyLinear`, which takes its units alone."""

    waits = True

    def __init__(self, width: Units, layer: Dense, *, dtype: torch.dtype, device: str) -> None:
        import torch

        self._module = torch.nn.LazyLinear(layer.units, bias=layer.use_bias, dtype=dtype, device=device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._module(x)

    def parameters(self) -> Mapping[str, torch.Tensor]:
        return dict(self._module.named_parameters())

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._module.weight, self._module.bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._module.load_state_dict({"weight": kernel.T, **({} if bias is None else {"bias": bias})})

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.T


class _Functional:
    """`functional.linear` on the caller's tensors."""

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
                raise  # because of the dtype and not the shape
            raise Unsupported(f"refused in native code, where no frame says by whom: {error}") from error

    def parameters(self) -> Mapping[str, torch.Tensor]:
        raise Unsupported("a function holds no parameters: its caller does")

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._weight, self._bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        # A copy: the memory of what arrived belongs to the question.
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
        # A vector has no second axis to move the channels to: the layer itself refuses it.
        return self._module(x.movedim(-1, -2)).movedim(-2, -1) if x.ndim > 1 else self._module(x)

    def parameters(self) -> Mapping[str, torch.Tensor]:
        return dict(self._module.named_parameters())

    def operands(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._module.weight, self._module.bias

    def load(self, kernel: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._module.load_state_dict({"weight": kernel.T.unsqueeze(-1), **({} if bias is None else {"bias": bias})})

    def as_kernel(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.squeeze(-1).T


#: Mode of the adapter -> the layer it makes.
LAYERS: Final[Mapping[str, Callable[..., Layer]]] = {"lazy": _Lazy, "functional": _Functional, "conv1d": _Conv1d}
