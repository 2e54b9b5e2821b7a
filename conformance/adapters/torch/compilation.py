"""
`torch.compile` for the adapter of `nn.Linear`: one backend for all models, and calls that never run in eager mode.

The module must not import torch before an adapter is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Compiler:
    """The backend of `torch.compile`: torch's own, with a count of the runs of compiled graphs."""

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
        """Return a graph of torch.fx compiled; torch calls this."""
        compiled = self._backend(graph, inputs)

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return compiled(*arguments)

        return run


@cache
def compiler() -> Compiler:
    """Return the one backend of this process, so that models of equal structure share what was compiled."""
    return Compiler()


def compiled_call(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the compiled call of a module; it raises RuntimeError where no compiled graph was run."""
    import torch

    backend = compiler()
    call = torch.compile(module, backend=backend, fullgraph=True, dynamic=False)

    def compiled(x: torch.Tensor) -> torch.Tensor:
        before = backend.runs
        y = call(x)
        if backend.runs == before:
            raise RuntimeError("no compiled graph was run: torch went back to eager mode")
        return y

    return compiled
