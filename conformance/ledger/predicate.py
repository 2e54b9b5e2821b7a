"""
Whether a behaviour is about a step: the field `when` of an entry, as data, and what it matches.

A value matches by equality, by being one of a list, by lying within `min` and `max`, by being odd, or by not matching
another. A field that is left out matches everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.specifiers import SpecifierSet

from conformance.ledger.step import AskedStep, Surroundings

#: Fields of the predicate that select the layers a behaviour applies to.
LAYER_FIELDS: Final = ("features", "units", "kernel_size", "square", "activation", "use_bias")
#: Fields of the predicate that are about the machine.
AROUND_FIELDS: Final = ("device", "machine")


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """What must hold of a step; `layers` of at least one of its layers."""

    step: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Any] = field(default_factory=dict)
    fed: Mapping[str, Any] = field(default_factory=dict)
    #: Of the device and the machine.
    around: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, SpecifierSet] = field(default_factory=dict)

    def suits(self, around: Surroundings) -> bool:
        """Return whether the behaviour is about a device, an environment and versions."""
        if not all(matches(want, getattr(around, name)) for name, want in self.around.items()):
            return False
        if not all(matches(want, around.environment.get(name)) for name, want in self.environment.items()):
            return False
        known = around.versions or {}
        named = ((known[name], want) for name, want in self.versions.items() if name in known)
        return all(want.contains(version, prereleases=True) for version, want in named)

    def reaches(self, asked: AskedStep) -> frozenset[int]:
        """Return the layers of a step that the behaviour applies to wherever it suits."""
        if not all(_has(asked.facts[name], want) for name, want in self.step.items()):
            return frozenset()
        if self.fed:
            fed = asked.fed
            if fed is None or not all(matches(want, fed[name]) for name, want in self.fed.items()):
                return frozenset()
        layers = enumerate(asked.layers)
        return frozenset(
            index for index, facts in layers if all(matches(want, facts[name]) for name, want in self.layers.items())
        )


def _has(fact: Any, want: Any) -> bool:
    """Return whether a fact is as wanted; one that has parts, part by part."""
    if isinstance(fact, Mapping):
        return all(matches(each, fact[name]) for name, each in want.items())
    return matches(want, fact)


def matches(want: Any, value: Any) -> bool:
    """Return whether a value is what an entry's field says: a value, one of a list, or what a mapping describes."""
    if isinstance(want, Mapping):
        return all(_passes(name, argument, value) for name, argument in want.items())
    if isinstance(want, list | tuple):
        return any(matches(each, value) for each in want)
    # True is 1 in Python, and two different numbers of units here.
    return isinstance(want, bool) == isinstance(value, bool) and bool(want == value)


def _passes(operator: str, argument: Any, value: Any) -> bool:
    """Return whether a value passes one operator of a predicate's mapping."""
    if operator == "not":
        return not matches(argument, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if operator == "odd":
        return (value % 2 == 1) is argument
    return bool(value >= argument if operator == "min" else value <= argument)
