"""One entry of the ledger: the problems of its fields together, and the behaviour that it declares."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet

from conformance.ledger.behaviour import Behaviour, Documentation, Exactly, Instead, Refusal
from conformance.ledger.fields import EntryFields, ErrorFields, InsteadFields, WhenFields
from conformance.ledger.predicate import LAYER_FIELDS, MACHINE_FIELDS, Predicate
from conformance.ledger.step import Facts
from conformance.reference.deviation import ActivationDeviation, Deviation
from conformance.reference.formulas import CONSTANTS, FORMULAS
from conformance.table.case import ACTIVATIONS
from conformance.table.validation import Model
from conformance.table.yaml_document import Place


def problems_of(fields: EntryFields, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield the problems of an entry whose fields are each valid."""
    if not fields.instead.model_fields_set:
        yield place.at("instead"), "instead is empty: say what these steps do"
    if not fields.link and not fields.evidence:
        yield place, "an entry needs a link, or else evidence"
    if all(set(glob) <= set("*?") for glob in fields.implementations):
        yield place.at("implementations"), "implementations match everything: name those that have the behaviour"
    instead = fields.instead
    if instead.accepts and fields.when.call != "forward":
        yield place.at("when"), "only a call can accept an input: write call: forward"
    yield from _problems_of_activation(fields, place)


def _problems_of_activation(fields: EntryFields, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield what contradicts an activation of the entry: a formula or a constant that it does not have."""
    formula, constants = fields.instead.formula, set(fields.instead.constants or ())
    unused = set(constants)
    for name in _activations(fields.when):
        if formula is not None and (name, formula) not in FORMULAS:
            others = ", ".join(sorted(each for each, of in FORMULAS if of == formula))
            yield place.at("instead"), f"{name} does not have the formula {formula}: only {others} do"
        _, own = CONSTANTS.get(name, (None, ()))
        if constants and not constants & set(own):
            others = f"it has {', '.join(own)}" if own else f"{', '.join(sorted(CONSTANTS))} have constants"
            yield place.at("instead"), f"{name} has none of the constants {', '.join(sorted(constants))}: {others}"
        unused -= set(own)
    if unused and unused != constants:
        yield place.at("instead"), f"no activation of this entry has a constant {', '.join(sorted(unused))}"


def _activations(when: WhenFields) -> list[str]:
    """Return the activations that an entry names, all of them if it names none."""
    pattern = when.activation
    if isinstance(pattern, str):
        return [pattern]
    return list(pattern) if isinstance(pattern, list) else list(ACTIVATIONS)


def behaviour_of(fields: EntryFields, file: str, place: Place) -> Behaviour:
    """Return the behaviour that valid fields declare."""
    return Behaviour(
        id=fields.id,
        implementations=tuple(fields.implementations),
        when=_predicate(fields.when),
        instead=_instead(fields.instead),
        documentation=Documentation(
            kind=fields.kind,
            why=fields.why,
            link=fields.link,
            evidence=fields.evidence,
            seen_with=dict(fields.seen_with or {}),
        ),
        sometimes=fields.sometimes,
        isolates=bool(fields.isolates),
        file=file,
        line=place.line,
        column=place.column,
    )


def _predicate(when: WhenFields) -> Predicate:
    present = _present(when)
    elsewhere = (*LAYER_FIELDS, *MACHINE_FIELDS, "fed", "input_shape", "environment", "versions")
    step = {name: pattern for name, pattern in present.items() if name not in elsewhere}
    if when.input_shape is not None:
        step["input_shape"] = _present(when.input_shape)
    return Predicate(
        step=step,
        layers={name: present[name] for name in LAYER_FIELDS if name in present},
        input={} if when.fed is None else _present(when.fed),
        machine={name: present[name] for name in MACHINE_FIELDS if name in present},
        environment=dict(when.environment or {}),
        versions={name: SpecifierSet(range_) for name, range_ in (when.versions or {}).items()},
    )


def _present(fields: Model) -> Facts:
    """Return the fields that an entry has."""
    return {name: getattr(fields, name) for name in fields.model_fields_set}


def _numbers(fields: ErrorFields) -> Iterator[tuple[str, float]]:
    for name in fields.model_fields_set:
        yield name, float(getattr(fields, name))


def _deviation(fields: InsteadFields) -> Deviation:
    return Deviation(
        casts=dict(fields.casts or {}),
        clips_infinities=bool(fields.clips_infinities),
        reads_bits_as_integers=bool(fields.reads_bits_as_integers),
        loses_bias=bool(fields.loses_bias),
        computes_in=fields.computes_in,
        products_in=fields.products_in,
        sums_in=dict(fields.sums_in or {}),
        rounds_each_product=frozenset(fields.rounds_each_product or ()),
        rounds_toward_zero=frozenset(fields.rounds_toward_zero or ()),
        multiplies_padding=fields.multiplies_padding,
        activation=ActivationDeviation(
            functions_in=fields.functions_in,
            constants={name: float(number) for name, number in (fields.constants or {}).items()},
            formula=fields.formula,
            error={} if fields.error is None else dict(_numbers(fields.error)),
        ),
    )


def _instead(fields: InsteadFields) -> Instead:
    refuses, exactly = fields.refuses, fields.exactly
    return Instead(
        refuses=None
        if refuses is None
        else Refusal(type=refuses.type, message=tuple(refuses.message), by_adapter=bool(refuses.by_adapter)),
        crashes=tuple(fields.crashes or ()),
        accepts=fields.accepts,
        deviation=_deviation(fields),
        dtypes=dict(fields.dtypes or {}),
        shape=fields.shape,
        infers=fields.infers,
        undefined=frozenset(fields.undefined or ()),
        exactly=None
        if exactly is None
        else Exactly(
            case=exactly.case,
            step=exactly.step,
            elements={
                tuple(int(part) for part in index.split(",")): float(number)
                for index, number in exactly.elements.items()
            },
        ),
    )
