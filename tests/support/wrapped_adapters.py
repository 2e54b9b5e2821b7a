"""A fault around any honest adapter: `mode` names it, as `module:Class` below `conformance.adapters`."""

from __future__ import annotations

import importlib
from typing import Any

from conformance.adapters.protocol import Stack


class _Around:
    """An honest adapter or model, but for what a subclass says."""

    def __init__(self, honest: Any) -> None:
        self.honest = honest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)


class IgnoresNewWeights(_Around):
    """Models that take no new weights."""

    def __init__(self, *, mode: str) -> None:
        module, _, name = mode.partition(":")
        super().__init__(getattr(importlib.import_module(f"conformance.adapters.{module}"), name)())

    def build(self, stack: Stack, *, device: str) -> Any:
        return _Frozen(self.honest.build(stack, device=device))


class _Frozen(_Around):
    def set_weights(self, stack: Stack) -> None:
        """Do nothing."""
