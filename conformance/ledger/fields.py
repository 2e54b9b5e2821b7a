"""
The fields of an entry of the ledger, in `cases/divergences/*.yaml`.

The models validate one field at a time. `conformance.ledger.entry` validates the fields of an entry together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, Field

from conformance.ledger.behaviour import ACCEPTANCES, KINDS, RESULTS, SHAPES, TYPED
from conformance.ledger.distributions import DISTRIBUTIONS
from conformance.ledger.step import CALLS
from conformance.reference.deviation import OPERANDS, OWN_DTYPE, PADDINGS, SUMS
from conformance.reference.formulas import FORMULA_NAMES
from conformance.table.case import ACTIVATIONS, DTYPES, INPUT_DTYPES, LAYOUTS
from conformance.table.validation import Globs, Link, Maybe, Model, Several, Word, about, excerpt, field_error, one_of

#: Text that is compared with a framework's message, so its white space stays as it is.
Verbatim = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
_OPERATORS: Final = ("min", "max", "odd", "not")


def _valid_pattern(value: object) -> object:
    """Return a pattern (`conformance.ledger.predicate`): a scalar, a list of patterns, or a mapping of operators."""
    if isinstance(value, dict):
        unknown = [name for name in value if name not in _OPERATORS]
        if unknown or not value:
            raise field_error(f"{excerpt(value)} is not valid: a mapping has {', '.join(_OPERATORS)}")
        for name, argument in value.items():
            if name in ("min", "max") and (isinstance(argument, bool) or not isinstance(argument, int | float)):
                raise field_error(f"{name} is a number, not {excerpt(argument)}")
            if name == "odd" and not isinstance(argument, bool):
                raise field_error(f"odd is true or false, not {excerpt(argument)}")
            if name == "not":
                _valid_pattern(argument)
    elif isinstance(value, list):
        if not value:
            raise field_error("an empty list matches nothing")
        for each in value:
            _valid_pattern(each)
    return value


def _among(kind: str, names: tuple[str, ...]) -> AfterValidator:
    """Return the annotation that checks that every name in a pattern is one of `names`."""

    def check(value: object) -> object:
        for each in _scalars(value):
            if each not in names:
                raise field_error(f"no such {kind}: {excerpt(each)}; there are {', '.join(names)}")
        return value

    return AfterValidator(check)


def _scalars(value: object) -> Iterator[object]:
    """Yield the scalars of a pattern, without the numbers of `min` and `max`."""
    if isinstance(value, dict):
        yield from _scalars(value["not"]) if "not" in value else ()
    elif isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    else:
        yield value


def _specifier(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise field_error(f"{excerpt(text)} is not a range of versions, such as '<2.22'") from None


_Distribution = Annotated[str, *one_of("distribution", DISTRIBUTIONS)]
Pattern = Annotated[object, AfterValidator(_valid_pattern)]
_VALUE: Final = "a value, a list of values, or a mapping of min, max, odd and not"


class _InputShapeFields(Model):
    """The shape of a sample that the model was built for."""

    rank: Annotated[Pattern, *about("Its number of axes.", _VALUE)] = None
    last: Annotated[Pattern, *about("Its last axis.", _VALUE)] = None
    positions: Annotated[Pattern, *about("The product of the axes before the last.", _VALUE)] = None


class _InputFields(Model):
    """The input of a step that computes."""

    dtype: Annotated[Pattern, _among("dtype", INPUT_DTYPES), *about("Its dtype.", _VALUE)] = None
    rank: Annotated[Pattern, *about("Its number of axes.", _VALUE)] = None
    features: Annotated[Pattern, *about("Its last axis.", _VALUE)] = None
    extra_axes: Annotated[Pattern, *about("How many axes it has more than the model was built for.", _VALUE)] = None
    fits: Annotated[
        Maybe[bool], *about("Whether rank and last axis are what the model was built for.", "true or false")
    ] = None
    samples: Annotated[Pattern, *about("The product of the axes of the batch.", _VALUE)] = None
    positions: Annotated[Pattern, *about("The product of the axes before the last.", _VALUE)] = None
    second_axis: Annotated[Pattern, *about("Its second axis.", _VALUE)] = None
    elements: Annotated[Pattern, *about("How many numbers it has.", _VALUE)] = None
    layout: Annotated[Pattern, _among("layout", LAYOUTS), *about("How it lies in memory.", _VALUE)] = None
    finite: Annotated[Maybe[bool], *about("Whether all numbers are finite.", "true or false")] = None


class _CallFields(Model):
    """The calls that a behaviour covers."""

    call: Annotated[Pattern, _among("call", CALLS), *about("What is called.", _VALUE)] = None
    dtype: Annotated[Pattern, _among("dtype", DTYPES), *about("The layer's dtype.", _VALUE)] = None
    leading_axes: Annotated[Pattern, *about("Axes of the batch, 0 for none.", _VALUE)] = None
    model_rank: Annotated[Pattern, *about("Axes of what the model was built for, batch included.", _VALUE)] = None
    contiguous: Annotated[
        Maybe[bool],
        *about("Whether input and weights have no gaps and their last axis varies fastest.", "true or false"),
    ] = None
    input_shape: Annotated[
        Maybe[_InputShapeFields], *about("The model's own.", "a mapping of rank, last, positions")
    ] = None
    device: Annotated[Pattern, *about("The device.", _VALUE)] = None
    machine: Annotated[Pattern, *about("The architecture, such as x86_64.", _VALUE)] = None


class WhenFields(_CallFields):
    """The steps that a behaviour covers. A field that is left out matches every step."""

    features: Annotated[Pattern, *about("Features of the layer.", _VALUE)] = None
    units: Annotated[Pattern, *about("Units of the layer.", _VALUE)] = None
    kernel_size: Annotated[Pattern, *about("Features times units of the layer.", _VALUE)] = None
    square: Annotated[Maybe[bool], *about("Whether units and features are as many.", "true or false")] = None
    activation: Annotated[Pattern, _among("activation", ACTIVATIONS), *about("The layer's activation.", _VALUE)] = None
    use_bias: Annotated[Maybe[bool], *about("Whether the layer has a bias.", "true or false")] = None
    fed: Annotated[Maybe[_InputFields], *about("The input of the step.", "a mapping")] = None
    environment: Annotated[
        Maybe[dict[Word, Pattern]], *about("Variables of the process; null where not set.", "variables with values")
    ] = None
    versions: Annotated[
        Maybe[dict[_Distribution, Annotated[str, AfterValidator(lambda text: str(_specifier(text)))]]],
        *about("Versions of distributions.", "distributions, each with a range like '<2.22'"),
    ] = None


class _RefusesFields(Model):
    """An exception that the step raises."""

    type: Annotated[Verbatim, *about("The exception's type.", "the name of an exception")]
    message: Annotated[
        Annotated[Several[Verbatim], Field(min_length=1)], *about("Parts of its message, in order.", "a list of texts")
    ]
    by_adapter: Annotated[Maybe[bool], *about("Whether the suite's adapter raises it.", "true or false")] = None


class ErrorFields(Model):
    """A further error of an activation."""

    absolute: Annotated[Maybe[float | int], Field(gt=0), *about("In unit roundoffs.", "a number more than 0")] = None
    relative: Annotated[
        Maybe[float | int], Field(gt=0), *about("In unit roundoffs of the value.", "a number more than 0")
    ] = None


class _ExactlyFields(Model):
    """Elements of the output of one step, bit for bit."""

    case: Annotated[Word, *about("The id of the case.", "the id of a case")]
    step: Annotated[Word, *about("The label of the step.", "the label of a step")]
    elements: Annotated[dict[str, float | int], *about("Numbers by index, as in '0,2'.", "numbers by index")]


_Dtype = Annotated[str, *one_of("dtype", DTYPES)]
_Result = Annotated[str, *one_of("result", SUMS)]


class _EndingFields(Model):
    """How a covered step ends."""

    refuses: Annotated[Maybe[_RefusesFields], *about("It raises.", "a mapping of type and message")] = None
    crashes: Annotated[
        Maybe[Annotated[Several[Literal["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"]], Field(min_length=1)]],
        *about("Its process ends by a signal.", "a list of signals"),
    ] = None
    accepts: Annotated[
        Maybe[Annotated[str, *one_of("way of accepting", ACCEPTANCES)]],
        *about("It answers what must be refused.", f"one of {', '.join(ACCEPTANCES)}"),
    ] = None


class _ArithmeticFields(_EndingFields):
    """What a covered step computes instead of the rule's product and sum."""

    casts: Annotated[
        Maybe[dict[Annotated[str, *one_of("operand", OPERANDS)], _Dtype]],
        *about("Operands that are rounded first.", "operands with dtypes"),
    ] = None
    clips_infinities: Annotated[Maybe[Literal[True]], *about("Infinite weights become finite.", "true")] = None
    reads_bits_as_integers: Annotated[
        Maybe[Literal[True]], *about("Bits of float16 operands with gaps are read as integers.", "true")
    ] = None
    loses_bias: Annotated[Maybe[Literal[True]], *about("The bias is not added.", "true")] = None
    computes_in: Annotated[Maybe[_Dtype], *about("The dtype of all arithmetic.", "a dtype")] = None
    products_in: Annotated[Maybe[_Dtype], *about("The dtype of products x·W.", "a dtype")] = None
    sums_in: Annotated[
        Maybe[dict[_Result, Annotated[str, *one_of("dtype", (*DTYPES, OWN_DTYPE))]]],
        *about("The dtype in which products are added up; own is the layer's dtype.", "results with dtypes"),
    ] = None
    rounds_each_product: Annotated[
        Maybe[Several[_Result]], *about("Results whose products are rounded.", "results")
    ] = None
    rounds_toward_zero: Annotated[Maybe[Several[_Result]], *about("Results rounded toward zero.", "results")] = None
    multiplies_padding: Annotated[
        Maybe[Annotated[str, *one_of("padding", PADDINGS)]],
        *about("An operand is multiplied by 0 as well.", f"one of {', '.join(PADDINGS)}"),
    ] = None
    functions_in: Annotated[
        Maybe[Annotated[str, *one_of("dtype", (*DTYPES, OWN_DTYPE))]],
        *about("The dtype of the activation's operations, own for the layer's.", "a dtype"),
    ] = None


class InsteadFields(_ArithmeticFields):
    """What a covered step does instead of the rule."""

    constants: Annotated[
        Maybe[dict[Word, float | int]], *about("Constants of the activation.", "names with numbers")
    ] = None
    formula: Annotated[
        Maybe[Annotated[str, *one_of("formula", FORMULA_NAMES)]],
        *about("The activation's formula.", f"one of {', '.join(FORMULA_NAMES)}"),
    ] = None
    error: Annotated[
        Maybe[ErrorFields], *about("The activation's further error.", "a mapping of absolute and relative")
    ] = None
    dtypes: Annotated[
        Maybe[dict[Annotated[str, *one_of("result", TYPED)], Annotated[str, *one_of("dtype", INPUT_DTYPES)]]],
        *about("The dtype of results.", "results with dtypes"),
    ] = None
    shape: Annotated[Maybe[Literal["fed"]], *about("The output's shape.", "fed, that of the input")] = None
    infers: Annotated[
        Maybe[Annotated[str, *one_of("shape", SHAPES)]], *about("The shape inferred.", f"one of {', '.join(SHAPES)}")
    ] = None
    undefined: Annotated[
        Maybe[Several[Annotated[str, *one_of("result", RESULTS)]]],
        *about("Results whose values are not compared.", "results"),
    ] = None
    exactly: Annotated[Maybe[_ExactlyFields], *about("Elements of one step, bit for bit.", "a mapping")] = None


class EntryFields(Model):
    """One entry of a file."""

    id: Annotated[Id, *about("Its name.", "small letters, digits, - and .")]
    implementations: Annotated[Globs, *about("Globs over implementations.", "a list of globs")]
    when: Annotated[WhenFields, *about("The steps it is about.", "a mapping")] = WhenFields()
    instead: Annotated[InsteadFields, *about("What these steps do.", "a mapping")]
    kind: Annotated[str, *one_of("kind", KINDS), *about("Whether it is meant.", f"one of {', '.join(KINDS)}")]
    why: Annotated[Word, *about("The reason, a fact.", "text")]
    link: Annotated[Maybe[Link], *about("Where it is reported.", "an http or https link")] = None
    evidence: Annotated[Maybe[Word], *about("Its source line, or a reproducer, where there is no link.", "text")] = None
    seen_with: Annotated[
        Maybe[dict[_Distribution, Word]],
        *about("The versions it was seen with.", "distributions with versions in quotes"),
    ] = None
    sometimes: Annotated[
        Maybe[Word], *about("Why a step may also do as the rule says.", "text: processor, kernel choice or chance")
    ] = None
    isolates: Annotated[Maybe[Literal[True]], *about("It outlives its call.", "true")] = None


class LedgerFile(Model):
    """One file of the ledger. Its entries are validated one by one."""

    description: Annotated[Maybe[Word], *about("What the file holds.", "text")] = None
    divergences: Annotated[Several[dict[str, object]], *about("The entries.", "a list of entries, each a mapping")]
