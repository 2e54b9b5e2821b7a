"""The ledger as a document for the terminal: what differs between the frameworks' dense layers, and since when."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from conformance.ledger import Behaviour
from conformance.ledger.predicate import Predicate
from conformance.reference.deviation import NO_DEVIATION

_KINDS: Final = {"bug": "Bugs", "by_design": "By design", "numeric": "Numerics"}


def document(behaviours: Sequence[Behaviour], width: int = 100) -> str:
    """Return the behaviours by kind: what each does, where, why, and which versions it was seen with."""
    return "\n".join(_lines(behaviours, max(40, min(width, 120))))


def _lines(behaviours: Sequence[Behaviour], width: int) -> Iterator[str]:
    for kind, title in _KINDS.items():
        chosen = [each for each in behaviours if each.kind == kind]
        if chosen:
            yield f"{title} ({len(chosen)})"
            yield ""
        for each in chosen:
            yield from textwrap.wrap(each.why, width, initial_indent="  ", subsequent_indent="  ")
            for name, said in _facts(each):
                yield from textwrap.wrap(
                    f"{name + ':':<11}{said}", width, initial_indent="      ", subsequent_indent=" " * 17
                )
            yield ""
    yield f"{len(behaviours)} declared behaviours"


def _facts(behaviour: Behaviour) -> Iterator[tuple[str, str]]:
    yield "who", ", ".join(behaviour.implementations)
    yield "when", condition(behaviour.when) or "always"
    yield "instead", "; ".join(instead(behaviour))
    if behaviour.sometimes is not None:
        yield "sometimes", behaviour.sometimes
    if behaviour.seen_with:
        yield "seen with", ", ".join(f"{name} {version}" for name, version in behaviour.seen_with.items())
    yield "source", behaviour.link or behaviour.evidence or ""
    yield "entry", f"{behaviour.id}, {behaviour.where}"


def condition(when: Predicate) -> str:
    """Return a predicate in a line, empty where it is about every step."""
    parts = [f"{name} {_value(wanted)}" for name, wanted in {**when.step, **when.layers}.items()]
    parts += [f"fed {name} {_value(wanted)}" for name, wanted in when.fed.items()]
    parts += [f"{name}={_value(wanted)}" for name, wanted in when.environment.items()]
    parts += [f"{name} {wanted}" for name, wanted in when.versions.items()]
    return ", ".join(parts)


def instead(behaviour: Behaviour) -> Iterator[str]:
    """Yield what a behaviour does instead of the rule, a few words for each field."""
    for name, value in vars(behaviour.instead).items():
        if name == "deviation":
            for each in fields(value):
                own = getattr(value, each.name)
                if own != getattr(NO_DEVIATION, each.name):
                    yield f"{each.name} {_value(own)}"
        elif value not in (None, (), {}, frozenset()):
            yield f"{name} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list | tuple | frozenset):
        return " or ".join(sorted(map(_value, value)))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
