"""The ledger as a document for the terminal: what differs between the frameworks' dense layers, and since when."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from conformance.ledger import Behaviour
from conformance.ledger.behaviour import Instead, Refusal
from conformance.ledger.predicate import Predicate
from conformance.reference.deviation import OWN_DTYPE, Deviation

_KINDS: Final = {
    "bug": "Bugs",
    "by_design": "By design",
    "numeric": "Numerics: as right as the format of the sums allows",
}
#: Call -> how a person calls it.
_CALLS: Final = {
    "build": "building the layer",
    "infer": "inferring shapes",
    "parameters": "reading the parameters",
    "set_weights": "replacing the weights",
    "forward": "the call",
    "gradient": "the gradient",
}
_OWN: Final = {OWN_DTYPE: "the layer's own dtype"}
#: Result -> how a person calls it.
_RESULTS: Final = {"output": "the output", "parameters": "the parameters"}
_ACCEPTED: Final = {
    "broadcast": "broadcasts an axis of length 1",
    "squeeze": "drops the last axis of length 1",
    "expand": "adds an axis of length 1",
    "flatten": "flattens the input",
    "int_units": "takes int(units)",
}


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
            yield f"  {each.id}"
            yield from textwrap.wrap(each.why, width, initial_indent="    ", subsequent_indent="    ")
            for name, said in _facts(each):
                first, rest = f"      {name + ':':<11}", " " * 17
                yield from textwrap.wrap(
                    said, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
                )
            yield ""
    yield f"{len(behaviours)} declared behaviours"


def _facts(behaviour: Behaviour) -> Iterator[tuple[str, str]]:
    yield "who", ", ".join(behaviour.implementations)
    yield "when", condition(behaviour.when) or "always"
    yield "instead", "; ".join(instead(behaviour.instead))
    if behaviour.sometimes is not None:
        yield "sometimes", f"or as the rule says, by {behaviour.sometimes}"
    if behaviour.seen_with:
        yield "seen with", ", ".join(f"{name} {version}" for name, version in behaviour.seen_with.items())
    yield "source", behaviour.link or behaviour.evidence or ""
    yield "entry", behaviour.where


def condition(when: Predicate) -> str:
    """Return a predicate in words, empty where it is about every step."""
    step = dict(when.step)
    parts = [_calls(step.pop("call"))] if "call" in step else []
    parts += _worded({**step, **when.layers})
    parts += [f"fed {_worded_one(name, wanted)}" for name, wanted in when.fed.items()]
    for name, wanted in when.environment.items():
        parts.append(f"{name} not set" if wanted is None else f"{name}={_value(wanted)}")
    parts += _worded(when.around)
    parts += [f"{name} {wanted}" for name, wanted in when.versions.items()]
    return ", ".join(parts)


def _calls(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        return f"every step but {_calls(wanted['not'])}" if "not" in wanted else _value(wanted)
    names = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(_CALLS[each] for each in names)


def _worded(fields: Mapping[str, Any]) -> list[str]:
    return [_worded_one(name, wanted) for name, wanted in fields.items()]


def _worded_one(name: str, wanted: Any) -> str:
    """Return what one field of a predicate asks for, in words."""
    said = name.replace("_", " ")
    if name == "use_bias":
        return "with bias" if wanted is True else "without bias" if wanted is False else f"bias {_value(wanted)}"
    if name == "leading_axes":
        return "no batch axis" if wanted == 0 else f"batch axes {_value(wanted)}"
    if name == "input_shape":
        return ", ".join(f"input shape's {_worded_one(part, each)}" for part, each in wanted.items())
    if isinstance(wanted, bool) and name in ("contiguous", "finite", "square"):
        return said if wanted else f"not {said}"
    return f"{said} {_value(wanted)}"


def instead(does: Instead) -> Iterator[str]:
    """Yield what a behaviour does instead of the rule, a few words for each field."""
    if does.refuses is not None:
        yield _refusal(does.refuses)
    if does.crashes:
        yield f"the process ends by {' or '.join(does.crashes)}"
    if does.accepts is not None:
        yield f"accepts what must be refused: {_ACCEPTED.get(does.accepts, does.accepts)}"
    yield from _deviation(does.deviation)
    for name, dtype in does.dtypes.items():
        yield f"{_RESULTS.get(name, name)} is {dtype}" if name != "parameters" else f"the parameters are {dtype}"
    if does.shape is not None:
        yield "the output has the shape of the input" if does.shape == "fed" else f"the output's shape: {does.shape}"
    if does.infers is not None:
        yield {
            "fed": "infers the shape of the input",
            "reversed_positions": "infers the axes between batch and features in reversed order",
        }.get(does.infers, f"infers {does.infers}")
    if does.undefined:
        yield f"the values of {_results(does.undefined)} mean nothing"
    if does.exactly is not None:
        values = ", ".join(f"{list(index)} = {value!r}" for index, value in does.exactly.elements.items())
        yield f"exactly {values} at {does.exactly.step} of {does.exactly.case}"


def _refusal(refusal: Refusal) -> str:
    message = " ... ".join(refusal.message)
    return f'raises {refusal.type}: "{message}"' + (", from the adapter" if refusal.by_adapter else "")


def _deviation(deviation: Deviation) -> Iterator[str]:
    """Yield what is computed in place of the rule; a field without words of its own is shown by its name."""
    none = Deviation()
    for name, value in vars(deviation).items():
        if value != getattr(none, name):
            words = _COMPUTED.get(name)
            yield f"{name.replace('_', ' ')} {_value(value)}" if words is None else words(value)


def _each(template: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what puts each item of a mapping into words."""
    return lambda value: ", ".join(template.format(_RESULTS.get(name, name), each) for name, each in value.items())


_COMPUTED: Final[Mapping[str, Callable[[Any], str]]] = {
    "casts": _each("casts {0} to {1}"),
    "clips_infinities": lambda _: "makes infinite weights finite",
    "reads_bits_as_integers": lambda _: "reads the bits of x as integers",
    "loses_bias": lambda _: "does not add the bias",
    "computes_in": lambda dtype: f"computes in {dtype}",
    "products_in": lambda dtype: f"computes products in {dtype}",
    "sums_in": lambda dtypes: _each("adds up {0} in {1}")(
        {name: _OWN.get(each, each) for name, each in dtypes.items()}
    ),
    "rounds_each_product": lambda results: f"rounds each product of {_results(results)}",
    "rounds_toward_zero": lambda results: f"rounds {_results(results)} toward zero",
    "multiplies_padding": lambda which: f"multiplies the {which.replace('_', ' ')} by 0 as well",
    "constants": lambda numbers: "the activation's " + _each("{0} is {1!r}")(numbers),
    "formula": lambda name: f"the activation's formula is {name}",
    "error": lambda units: "the activation's value is off by up to " + _error(units),
}


def _error(units: Mapping[str, float]) -> str:
    kinds = {"absolute": "unit roundoffs", "relative": "unit roundoffs of the value"}
    return " and ".join(f"{number:g} {kinds.get(kind, kind)}" for kind, number in units.items())


def _results(names: frozenset[str]) -> str:
    return ", ".join(_RESULTS.get(each, each) for each in sorted(names))


def _value(value: Any) -> str:
    """Return what a value of a predicate allows, in words."""
    if isinstance(value, Mapping):
        words = {"min": "at least {}", "max": "at most {}", "not": "not {}"}
        parts = [
            ("odd" if each else "even") if name == "odd" else words.get(name, f"{name} {{}}").format(_value(each))
            for name, each in value.items()
        ]
        return " and ".join(parts)
    if isinstance(value, list | tuple | frozenset):
        return " or ".join(map(_value, sorted(value) if isinstance(value, frozenset) else value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
