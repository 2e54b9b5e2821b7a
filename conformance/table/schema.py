"""
The fields of a file of the table and of its rows: their types, and the words that explain them.

The models check one field at a time; `conformance.table.contradictions` checks fields together. Editors complete rows
from the JSON Schema that `schema` returns and `make schema` writes to `conformance/table/case.schema.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.json_schema import JsonSchemaValue

from conformance.table.case import (
    ACTIVATIONS,
    DTYPES,
    INPUT_DTYPES,
    LAYOUTS,
    MAX_RANK,
    NEEDS,
    SWITCHES,
    TIERS,
    Numbers,
    shape_of,
)
from conformance.table.check_names import CHECKS
from conformance.table.lane_names import LANES
from conformance.table.validation import (
    Globs,
    Link,
    Maybe,
    Model,
    NaturalNumber,
    Several,
    Word,
    about,
    excerpt,
    field_error,
    omit,
    one_of,
)

MAX_ID: Final = 100
#: An id is also the name of a file, an anchor on a page and a word in a terminal.
SAFE_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_DEVICES: Final = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10)))
)
_MAX_FED: Final = 2 * MAX_RANK
#: Fields of a single row. They can be neither a default nor one of `each`.
OWN_FIELDS: Final = ("each", "id")


def _distinct(names: list[str]) -> list[str]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise field_error(f"{name} is named twice")
    return names


def _file_name(name: str) -> str:
    """Return an id that can name a file on every system. On Windows some names are devices, with any ending."""
    if name.partition(".")[0].upper() in _DEVICES or name.endswith("."):
        raise field_error(f"{excerpt(name)} names no file on Windows")
    return name


def _array(value: object) -> Numbers:
    """Return nested lists of numbers as nested tuples of float. One number stands for an array filled with it."""
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise field_error(f"{excerpt(value)} is not a number, nor a list of them")
    if not isinstance(value, list):
        return float(value)
    inner = tuple(map(_array, value))
    if len({shape_of(each) for each in inner}) > 1:
        raise field_error("the lists of an array are not of one length")
    return inner


def _arrays(value: object) -> Numbers | tuple[Numbers | None, ...]:
    """Return an array, or one array per layer, None for a layer without a bias."""
    if isinstance(value, list) and None in value:
        return tuple(None if each is None else _array(each) for each in value)
    if isinstance(value, list) and len({shape_of(_array(each)) for each in value}) > 1:
        return tuple(map(_array, value))
    return _array(value)


Axis = NaturalNumber | None
if TYPE_CHECKING:
    Array = Numbers
    Arrays = Numbers | tuple[Numbers | None, ...]
else:
    # pydantic takes no recursive alias: it validates any value by the function.
    _NUMBERS: Final = {"type": ["number", "array"]}
    Array = Annotated[Any, AfterValidator(_array), Field(json_schema_extra=_NUMBERS)]
    Arrays = Annotated[Any, AfterValidator(_arrays), Field(json_schema_extra=_NUMBERS)]
Activation = Annotated[str, *one_of("activation", ACTIVATIONS)]
Check = Annotated[str, *one_of("check", CHECKS)]
Lane = Annotated[str, *one_of("lane", LANES)]
LegalUnits = NaturalNumber | Annotated[Several[NaturalNumber], Field(min_length=1)]
Anything = int | Annotated[float, Field(allow_inf_nan=False)] | bool | str | None
AnyUnits = Anything | Annotated[Several[Anything], Field(min_length=1)]
Batch = NaturalNumber | Annotated[Several[NaturalNumber], Field(min_length=1, max_length=MAX_RANK)] | None


class Expectation(Model):
    """Literals worked by hand that pin the rule itself, or `error: true`: the framework must refuse."""

    output_shape: Annotated[
        Maybe[Several[Axis]],
        *about("Output shape of a single layer, null in front for an unknown batch.", "a list of lengths and nulls"),
    ] = None
    output_shapes: Annotated[
        Maybe[Several[Several[Axis]]],
        *about("One output shape per layer, null in front of each for an unknown batch.", "a list of shapes"),
    ] = None
    parameters: Annotated[
        Maybe[Several[NaturalNumber]], *about("One parameter count per layer.", "a list of counts, one per layer")
    ] = None
    total_parameters: Annotated[
        Maybe[NaturalNumber], *about("The sum of the parameter counts.", "an integer of 0 or more")
    ] = None
    error: Annotated[bool, *about("True: the framework must refuse.", "true or false")] = False
    nonfinite: Annotated[
        bool, *about("True: the answer holds infinities or NaN; without it none may.", "true or false")
    ] = False
    output: Annotated[
        Maybe[Array],
        *about("The output for the row's data, as another suite or a report gives it.", "nested lists of numbers"),
    ] = None


class Refusal(Expectation):
    """The expectation of a row that the rule forbids."""

    error: Annotated[Literal[True], *about("True: the framework must refuse.", "true")]


class Data(Model):
    """Arrays of the row itself; one number fills an array. They are rounded to the dtype."""

    x: Annotated[Array, *about("The array fed.", "nested lists of numbers, or a number")]
    kernel: Annotated[
        Arrays, *about("(d, m); for a stack a list with one per layer.", "nested lists of numbers, or a number")
    ]
    bias: Annotated[
        Maybe[Arrays], *about("(m,); for a stack a list with one per layer.", "nested lists of numbers, or a number")
    ] = None
    dy: Annotated[
        Maybe[Array], *about("The gradient of the output; without it drawn.", "nested lists of numbers, or a number")
    ] = None


class Family(Model):
    """The field of a row that makes a family of rows."""

    each: Annotated[
        Maybe[dict[str, Annotated[Several[object], Field(min_length=1)]]],
        *about(
            "Field to list of values; the row expands to their Cartesian product.",
            "a mapping of fields, each to a list of one value or more",
        ),
    ] = None


class _QuestionFields(Family):
    """The fields of a row that say what is computed."""

    input_shape: Annotated[
        Annotated[Several[Axis], Field(max_length=MAX_RANK)],
        *about(
            "Shape of one sample, without batch, as in Keras; [] is rank 0.",
            f"a list of up to {MAX_RANK} axes, each an integer of 0 or more, or null where it is unknown",
        ),
    ]
    units: Annotated[
        LegalUnits,
        *about(
            "An integer, or a list: one dense layer per entry, each fed by the one before.",
            "an integer of 0 or more, or a list of them (anything else only where the row expects an error)",
        ),
    ]
    activation: Annotated[
        Activation | Several[Activation],
        *about(
            "One for all layers, or a list with one for each.",
            f"one of {', '.join(ACTIVATIONS)}, or a list with one for each layer",
        ),
    ] = "linear"
    use_bias: Annotated[
        bool | Several[bool],
        *about("One for all layers, or a list with one for each.", "true or false, or a list with one for each layer"),
    ] = True
    dtype: Annotated[
        str, *one_of("dtype", DTYPES), *about("Of input, weights and arithmetic.", f"one of {', '.join(DTYPES)}")
    ] = "float32"
    input_dtype: Annotated[
        Maybe[Annotated[str, *one_of("dtype", INPUT_DTYPES)]],
        *about("Of the input, where it is not dtype.", f"one of {', '.join(INPUT_DTYPES)}"),
    ] = None
    batch: Annotated[
        Batch,
        *about(
            "An integer, a list of leading axes, or null: no batch axis at all.",
            f"an integer of 0 or more, a list of 1 to {MAX_RANK} of them, or null for no batch axis",
        ),
    ] = 2
    values: Annotated[
        Maybe[Lane | Annotated[Several[Lane], Field(min_length=1), AfterValidator(_distinct)]],
        *about(
            "How inputs and weights are drawn; a list makes one case each. Without it: exact and uniform.",
            f"one of {', '.join(LANES)}, or a list of them",
        ),
    ] = None
    data: Annotated[Maybe[Data], *about("Arrays of the row itself, lane literal.", "a mapping of x, kernel, bias")] = (
        None
    )
    layout: Annotated[
        str, *one_of("layout", LAYOUTS), *about("Memory layout of the input.", f"one of {', '.join(LAYOUTS)}")
    ] = "contiguous"
    environment: Annotated[
        Maybe[dict[Annotated[str, *one_of("switch", SWITCHES)], Word]],
        *about(
            "Environment variables that the framework's process is started with, in quotes.",
            f"a mapping of {', '.join(SWITCHES)} to text in quotes",
        ),
    ] = None


class Row(_QuestionFields):
    """One entry of the table: a question, or with `each` a family of them."""

    needs: Annotated[
        Maybe[Annotated[str, *one_of("need", NEEDS)]],
        *about("What the machine must have; elsewhere the row is not run.", f"one of {', '.join(NEEDS)}"),
    ] = None
    feed_shape: Annotated[
        Maybe[Annotated[Several[NaturalNumber], Field(max_length=_MAX_FED)]],
        *about(
            "The full shape fed at the call, batch included, where it is not what the layer was built for.",
            f"a list of up to {_MAX_FED} axes, each an integer of 0 or more",
        ),
    ] = None
    expect: Annotated[Maybe[Expectation], *about("Literals worked by hand, or error: true.", "a mapping")] = None
    implementations: Annotated[
        Maybe[Globs], *about("Globs, where a row makes sense for some only.", "a list of globs")
    ] = None
    checks: Annotated[
        Maybe[Annotated[Several[Check], Field(min_length=1), AfterValidator(_distinct)]],
        *about("Names, where a row is about one thing.", f"a list of checks, among {', '.join(CHECKS)}"),
    ] = None
    tier: Annotated[
        str, *one_of("tier", TIERS), *about("A tier includes the ones before it.", f"one of {', '.join(TIERS)}")
    ] = "full"
    id: Annotated[
        Maybe[Annotated[str, Field(pattern=f"^{SAFE_ID}$", max_length=MAX_ID), AfterValidator(_file_name)]],
        *about(
            "A name in place of the one that follows from content.",
            f"1 to {MAX_ID} of A-Z a-z 0-9 . _ - with a letter or digit first",
        ),
    ] = None
    why: Annotated[Maybe[Word], *about("A fact: what the row shows.", "text")] = None
    source: Annotated[Maybe[Link], *about("Where the row comes from.", "an http or https link")] = None
    tags: Annotated[Maybe[Several[Word]], *about("Words for people.", "a list of words")] = None


class RefusedRow(Row):
    """A row with `expect: {error: true}`: it may hold what the rule forbids."""

    units: Annotated[  # type: ignore[assignment]  # the one field that is wider than in its base
        AnyUnits,
        *about("An integer, or a list; here also what is not legal.", "a finite number, a word, or a list of them"),
    ]
    expect: Annotated[Refusal, *about("error: true, and nothing else.", "a mapping")]


class Defaults(Row):
    """Fields that every row of the file has unless it says otherwise."""


class TableFile(Model):
    """One file of the table of dense-conformance."""

    description: Annotated[Maybe[Word], *about("What the rows have in common.", "text")] = None
    defaults: Annotated[
        Maybe[dict[str, object]], *about("Fields that every row has unless it says otherwise.", "a mapping of fields")
    ] = None
    rows: Annotated[
        Annotated[Several[dict[str, object]], Field(min_length=1)],
        *about("One entry per question, or per family of questions.", "a list of rows, each a mapping"),
    ]


class _TypedTableFile(TableFile):
    """A file with typed rows, for the JSON Schema only. Rows are validated one by one, together with their defaults."""

    defaults: Defaults  # type: ignore[assignment]  # a model in place of a mapping
    rows: Annotated[list[Row | RefusedRow], Field(min_length=1)]  # type: ignore[assignment]  # models, not mappings


def schema() -> JsonSchemaValue:
    """Return the JSON Schema of a file of the table."""
    generated = _plain(_TypedTableFile.model_json_schema())
    definitions = generated["$defs"]
    for name in ("Row", "RefusedRow", "Defaults"):
        # A field that a row leaves out may be in its file's defaults or its own `each`.
        definitions[name] = omit(definitions[name], "required")
    definitions["RefusedRow"]["required"] = ["expect"]
    shared = omit(definitions["Row"]["properties"], *OWN_FIELDS)
    definitions["Defaults"]["properties"] = shared
    for name in ("Row", "RefusedRow"):
        definitions[name]["properties"]["each"]["propertyNames"] = {"enum": list(shared)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dense-conformance table",
        **generated,
        "description": TableFile.__doc__,
        "required": ["rows"],
    }


def _plain(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return a schema without the keys that pydantic adds in some versions only."""
    if len(schema.get("allOf", ())) == 1:
        schema = schema["allOf"][0] | omit(schema, "allOf")
    # A title repeats the name of its field, a default of null is no default, and a constant needs no list of one value.
    noise = [key for key, value in schema.items() if (key == "title" and isinstance(value, str)) or value is None]
    noise += ["enum"] if "const" in schema else []
    return {key: _plain_value(value) for key, value in schema.items() if key not in noise}


def _plain_value(value: object) -> object:
    if isinstance(value, list):
        return [_plain_value(each) for each in value]
    return _plain(value) if isinstance(value, dict) else value
