"""
The predicate of a behaviour: the field `when` of an entry as data, and how it is matched with a step.

A pattern is a value, a list of patterns, or a mapping of the operators `min`, `max`, `odd` and `not`. A field that an
entry leaves out matches everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from packaging.specifiers import SpecifierSet

from conformance.ledger.step import Facts, ModelStep, Surroundings

#: Fields of `when` that select the layers a behaviour applies to.
LAYER_FIELDS: Final = ("features", "units", "kernel_size", "square", "activation", "use_bias")
#: Fields of `when` about the machine.
MACHINE_FIELDS: Final = ("device", "machine")


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """Patterns by the names of the facts that must match them."""

    #: Facts about the call and the model.
    step: Facts = field(default_factory=dict)
    #: Facts about a layer. The behaviour applies to the layers that match, and there must be at least one.
    layers: Facts = field(default_factory=dict)
    #: Facts about the input.
    input: Facts = field(default_factory=dict)
    #: Facts about the device and the machine.
    machine: Facts = field(default_factory=dict)
    #: Environment variables.
    environment: Facts = field(default_factory=dict)
    #: Distribution -> the versions that match.
    versions: Mapping[str, SpecifierSet] = field(default_factory=dict)

    def matches_surroundings(self, surroundings: Surroundings) -> bool:
        """Return whether device, machine, environment and versions match. A version that is unknown matches."""
        if not all(matches(pattern, getattr(surroundings, name)) for name, pattern in self.machine.items()):
            return False
        environment = surroundings.environment
        if not all(matches(pattern, environment.get(name)) for name, pattern in self.environment.items()):
            return False
        versions = surroundings.versions or {}
        both = ((versions[name], specifier) for name, specifier in self.versions.items() if name in versions)
        return all(specifier.contains(version, prereleases=True) for version, specifier in both)

    def matching_layers(self, step: ModelStep) -> frozenset[int]:
        """Return the layers that match, none if another fact of the step does not."""
        if not all(_has(step.facts[name], pattern) for name, pattern in self.step.items()):
            return frozenset()
        if self.input:
            facts = step.input_facts
            if facts is None or not all(matches(pattern, facts[name]) for name, pattern in self.input.items()):
                return frozenset()
        layers = enumerate(step.layer_facts)
        return frozenset(
            index for index, facts in layers if all(matches(each, facts[name]) for name, each in self.layers.items())
        )


def _has(fact: object, pattern: object) -> bool:
    """Return whether a fact matches a pattern. A fact with parts has a pattern for each part."""
    if isinstance(fact, Mapping) and isinstance(pattern, Mapping):
        return all(matches(each, fact[name]) for name, each in pattern.items())
    return matches(pattern, fact)


def matches(pattern: object, value: object) -> bool:
    """Return whether a value matches a pattern."""
    if isinstance(pattern, Mapping):
        return all(_passes(name, argument, value) for name, argument in pattern.items())
    if isinstance(pattern, list | tuple):
        return any(matches(each, value) for each in pattern)
    # Python says that True == 1. In the ledger they are different numbers of units.
    return isinstance(pattern, bool) == isinstance(value, bool) and bool(value == pattern)


def _passes(operator: str, argument: object, value: object) -> bool:
    """Return whether a value passes one operator of a pattern."""
    if operator == "not":
        return not matches(argument, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if operator == "odd":
        return (value % 2 == 1) is argument
    assert isinstance(argument, int | float), "the fields of an entry are validated"
    return value >= argument if operator == "min" else value <= argument
