"""What the fields of one entry mean together: what is wrong with it, and the behaviour it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.specifiers import SpecifierSet

from conformance.ledger.behaviour import Behaviour, Exactly, Instead, Refusal
from conformance.ledger.fields import EntryFields, InsteadFields, WhenFields
from conformance.ledger.predicate import AROUND_FIELDS, LAYER_FIELDS, Predicate
from conformance.reference.deviation import Deviation
from conformance.reference.formulas import CONSTANTS, FORMULAS, activation_of
from conformance.table.case import ACTIVATIONS
from conformance.table.validation import Model
from conformance.table.yaml_document import Place


def problems_of(fields: EntryFields, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with an entry whose fields are each right."""
    if not fields.instead.model_fields_set:
        yield place.at("instead"), "instead says nothing: what do these steps do?"
    if not fields.link and not fields.evidence:
        yield place, "an entry needs a link, or else evidence"
    if all(set(glob) <= set("*?") for glob in fields.implementations):
        yield place.at("implementations"), "implementations match everything: a behaviour is somebody's"
    instead = fields.instead
    if instead.accepts and fields.when.call != "forward":
        yield place.at("when"), "what is accepted is fed: say call: forward"
    formula, constants = instead.formula, instead.constants
    if formula is not None or constants:
        for name in _activations(fields.when):
            try:
                activation_of(name, formula, constants)
            except KeyError:
                known = sorted(each for each, of in FORMULAS if of == formula) if formula else sorted(CONSTANTS)
                said = f"the formula {formula}" if formula else "constants"
                yield place.at("instead"), f"{name} has no such thing as {said}: of {', '.join(known)} alone"
            except TypeError:
                yield place.at("instead"), f"{name} has no constants {', '.join(constants or ())}"


def _activations(when: WhenFields) -> list[str]:
    """Return the activations an entry is about, all of them where it names none."""
    named = when.activation
    if named is None or isinstance(named, dict):
        return list(ACTIVATIONS)
    return list(named) if isinstance(named, list) else [named]


def behaviour_of(fields: EntryFields, file: str, place: Place) -> Behaviour:
    """Return the behaviour that fields without problems make."""
    return Behaviour(
        id=fields.id,
        implementations=tuple(fields.implementations),
        when=_predicate(fields.when),
        instead=_instead(fields.instead),
        kind=fields.kind,
        why=fields.why,
        link=fields.link,
        evidence=fields.evidence,
        seen_with=dict(fields.seen_with or {}),
        sometimes=fields.sometimes,
        isolates=bool(fields.isolates),
        file=file,
        line=place.line,
        column=place.column,
    )


def _predicate(when: WhenFields) -> Predicate:
    said: dict[str, Any] = {name: getattr(when, name) for name in when.model_fields_set}
    layers: dict[str, Any] = {name: said.pop(name) for name in LAYER_FIELDS if name in said}
    around: dict[str, Any] = {name: said.pop(name) for name in AROUND_FIELDS if name in said}
    fed, environment, versions = (said.pop(name, None) for name in ("fed", "environment", "versions"))
    if "input_shape" in said:
        said["input_shape"] = _said(said["input_shape"])
    return Predicate(
        step=said,
        layers=layers,
        fed={} if fed is None else _said(fed),
        around=around,
        environment=dict(environment or {}),
        versions={name: SpecifierSet(wanted) for name, wanted in (versions or {}).items()},
    )


def _said(fields: Model) -> Mapping[str, Any]:
    return {name: getattr(fields, name) for name in fields.model_fields_set}


def _instead(fields: InsteadFields) -> Instead:
    refuses, exactly = fields.refuses, fields.exactly
    return Instead(
        refuses=None
        if refuses is None
        else Refusal(type=refuses.type, message=tuple(refuses.message), by_adapter=bool(refuses.by_adapter)),
        crashes=tuple(fields.crashes or ()),
        accepts=fields.accepts,
        deviation=Deviation(
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
            constants={name: float(number) for name, number in (fields.constants or {}).items()},
            formula=fields.formula,
            error={} if fields.error is None else {name: float(each) for name, each in _said(fields.error).items()},
        ),
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
