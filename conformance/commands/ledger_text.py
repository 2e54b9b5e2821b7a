"""The ledger as text for the terminal: how the frameworks' dense layers differ from the rule, and in which versions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from conformance.ledger import Behaviour
from conformance.ledger.behaviour import Instead, Refusal
from conformance.ledger.predicate import Predicate
from conformance.reference.deviation import NO_DEVIATION, OWN_DTYPE, Deviation

_KINDS: Final = {
    "bug": "Bugs",
    "by_design": "By design",
    "numeric": "Numerics: within the error of the format of the sums",
}
#: Call -> its words.
_CALLS: Final = {
    "build": "building the layer",
    "infer": "inferring shapes",
    "parameters": "reading the parameters",
    "set_weights": "replacing the weights",
    "forward": "the call",
    "gradient": "the gradient",
}
_OWN: Final = {OWN_DTYPE: "the layer's own dtype"}
#: Result -> its words.
_RESULTS: Final = {"output": "the output", "parameters": "the parameters"}
_ACCEPTED: Final = {
    "broadcast": "broadcasts an axis of length 1",
    "squeeze": "drops the last axis of length 1",
    "expand": "adds an axis of length 1",
    "flatten": "flattens the input",
    "int_units": "uses int(units)",
}


def document(behaviours: Sequence[Behaviour], width: int = 100) -> str:
    """Return the behaviours by kind: what each does, where, why, and in which versions."""
    return "\n".join(_lines(behaviours, max(40, min(width, 120))))


def _lines(behaviours: Sequence[Behaviour], width: int) -> Iterator[str]:
    for kind, title in _KINDS.items():
        chosen = [each for each in behaviours if each.documentation.kind == kind]
        if chosen:
            yield f"{title} ({len(chosen)})"
            yield ""
        for each in chosen:
            yield f"  {each.id}"
            yield from textwrap.wrap(each.documentation.why, width, initial_indent="    ", subsequent_indent="    ")
            for name, fact in _facts(each):
                first, rest = f"      {name + ':':<11}", " " * 17
                yield from textwrap.wrap(
                    fact, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
                )
            yield ""
    yield f"{len(behaviours)} declared behaviours"


def _facts(behaviour: Behaviour) -> Iterator[tuple[str, str]]:
    yield "who", ", ".join(behaviour.implementations)
    yield "when", condition(behaviour.when) or "always"
    yield "instead", "; ".join(instead(behaviour.instead))
    if behaviour.sometimes is not None:
        yield "sometimes", f"or as the rule says, by {behaviour.sometimes}"
    documentation = behaviour.documentation
    if documentation.seen_with:
        yield "seen with", ", ".join(f"{name} {version}" for name, version in documentation.seen_with.items())
    yield "source", documentation.link or documentation.evidence or ""
    yield "entry", behaviour.where


def condition(when: Predicate) -> str:
    """Return a predicate in words, empty where it matches every step."""
    step = dict(when.step)
    parts = [_calls(step.pop("call"))] if "call" in step else []
    parts += _field_texts({**step, **when.layers})
    parts += [f"fed {_field_text(name, value)}" for name, value in when.input.items()]
    for name, value in when.environment.items():
        parts.append(f"{name} not set" if value is None else f"{name}={_value(value)}")
    parts += _field_texts(when.machine)
    parts += [f"{name} {value}" for name, value in when.versions.items()]
    return ", ".join(parts)


def _calls(value: object) -> str:
    if isinstance(value, Mapping):
        return f"every step but {_calls(value['not'])}" if "not" in value else _value(value)
    names = value if isinstance(value, list) else [value]
    return " or ".join(_CALLS[str(each)] for each in names)


def _field_texts(fields: Mapping[str, object]) -> list[str]:
    return [_field_text(name, value) for name, value in fields.items()]


def _field_text(name: str, value: object) -> str:
    """Return one field of a predicate in words."""
    words = name.replace("_", " ")
    if name == "use_bias":
        return "with bias" if value is True else "without bias" if value is False else f"bias {_value(value)}"
    if name == "leading_axes":
        return "no batch axis" if value == 0 else f"batch axes {_value(value)}"
    if name == "input_shape" and isinstance(value, Mapping):
        return ", ".join(f"input shape's {_field_text(part, each)}" for part, each in value.items())
    if isinstance(value, bool) and name in ("contiguous", "finite", "square"):
        return words if value else f"not {words}"
    return f"{words} {_value(value)}"


def instead(does: Instead) -> Iterator[str]:
    """Yield each field of what a behaviour does instead of the rule, in words."""
    if does.refuses is not None:
        yield _refusal(does.refuses)
    if does.crashes:
        yield f"the process ends by {' or '.join(does.crashes)}"
    if does.accepts is not None:
        yield f"accepts an illegal case: {_ACCEPTED.get(does.accepts, does.accepts)}"
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
        yield f"the values of {_results(does.undefined)} are undefined"
    if does.exactly is not None:
        values = ", ".join(f"{list(index)} = {value!r}" for index, value in does.exactly.elements.items())
        yield f"exactly {values} at {does.exactly.step} of {does.exactly.case}"


def _refusal(refusal: Refusal) -> str:
    message = " ... ".join(refusal.message)
    return f'raises {refusal.type}: "{message}"' + (", from the adapter" if refusal.by_adapter else "")


def _deviation(deviation: Deviation) -> Iterator[str]:
    """Yield each field of a deviation in words. A field without words is shown by its name."""
    values = vars(deviation) | vars(deviation.activation)
    rule = vars(NO_DEVIATION) | vars(NO_DEVIATION.activation)
    for name, value in values.items():
        if name != "activation" and value != rule[name]:
            words = _COMPUTED.get(name)
            yield f"{name.replace('_', ' ')} {_value(value)}" if words is None else words(value)


def _each(template: str) -> Callable[[Mapping[str, object]], str]:
    """Return a function that formats each item of a mapping."""
    return lambda value: ", ".join(template.format(_RESULTS.get(name, name), each) for name, each in value.items())


_COMPUTED: Final[Mapping[str, Callable[[Any], str]]] = {
    "casts": _each("casts {0} to {1}"),
    "clips_infinities": lambda _: "makes infinite weights finite",
    "reads_bits_as_integers": lambda _: "reads the bits of float16 operands that are not contiguous as integers",
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
    "error": lambda units: "the activation's value has an error of up to " + _error(units),
}


def _error(units: Mapping[str, float]) -> str:
    kinds = {"absolute": "unit roundoffs", "relative": "unit roundoffs of the value"}
    return " and ".join(f"{number:g} {kinds.get(kind, kind)}" for kind, number in units.items())


def _results(names: frozenset[str]) -> str:
    return ", ".join(_RESULTS.get(each, each) for each in sorted(names))


def _value(value: object) -> str:
    """Return the condition of a field of a predicate in words."""
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
