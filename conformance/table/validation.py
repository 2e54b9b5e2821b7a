"""
Strict models of the content of a file, and the faults, each with a place, that the errors of pydantic become.

The table and the ledger have different fields and the same rules: an unknown field is refused, no value is converted,
no value is null unless its field allows it, and a fault is one sentence at the key or value that is wrong.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from conformance.table.yaml_document import Place

T = TypeVar("T")
M = TypeVar("M", bound="Model")

_LINK: Final = r"""https?://[^\s<>"'`\\]+"""
#: Characters of a value that a message quotes.
_EXCERPT: Final = 60
#: Words for true and false that YAML 1.2 reads as text.
_BOOLEANS: Final = {
    **dict.fromkeys(("yes", "on", "y", "1"), "true"),
    **dict.fromkeys(("no", "off", "n", "0"), "false"),
    **{each: each for each in ("true", "false")},
}
#: A shape as Python writes it, in lower case; brackets are optional.
_TUPLE: Final = r"[(\[]?((?:[0-9]+|none|null)(?:\s*,\s*(?:[0-9]+|none|null))*\s*,?)\s*[)\]]?"


class Model(BaseModel):
    """Base of all models: strict types (true is not 1), unknown fields refused."""

    # A validator is built when it is first used: most processes of a run read no table.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True)
class AllowedValues:
    """The values that a field allows, in words that end the sentence "it must be ..."."""

    text: str


def field_error(message: str) -> PydanticCustomError:
    """Return an error of a field whose message is a whole sentence."""
    # The message is an argument of the format, since its own braces would be read as fields of one.
    return PydanticCustomError("whole_sentence", "{sentence}", {"sentence": message})


def _not_null(value: object) -> object:
    if value is None:
        raise field_error("empty: say something, or leave the field out")
    return value


def _word(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise field_error("blank: say something, or leave the field out")
    return text


def _link(text: str) -> str:
    if not re.fullmatch(_LINK, text):
        raise field_error(f"{excerpt(text)} is not an http or https link")
    return text


#: A field that may be left out and is None then. Null is an error.
Maybe = Annotated[T | SkipJsonSchema[None], BeforeValidator(_not_null)]
#: Text for people: not blank; each run of white space becomes one space.
Word = Annotated[str, AfterValidator(_word)]
Link = Annotated[str, AfterValidator(_link), Field(json_schema_extra={"pattern": f"^{_LINK}$"})]
NaturalNumber = Annotated[int, Field(ge=0)]
#: A list of which only the first bad item is a fault, since a file has room for 500,000 bad items.
Several = Annotated[list[T], Field(fail_fast=True)]
Globs = Annotated[Several[Word], Field(min_length=1)]


def one_of(kind: str, names: Sequence[str]) -> tuple[AfterValidator, FieldInfo]:
    """Return the annotations that make a string one of `names`; `kind` is the word for such a name in messages."""

    def member(name: str) -> str:
        if name not in names:
            raise field_error(f"no such {kind}: {excerpt(name)}{did_you_mean(name, names)}")
        return name

    return AfterValidator(member), Field(json_schema_extra={"enum": list(names)})


def about(description: str, allowed: str) -> tuple[FieldInfo, AllowedValues]:
    """Return the annotations that explain a field: `description` in editors, `allowed` in the message of a fault."""
    return Field(description=description), AllowedValues(allowed)


def did_you_mean(name: str, names: Collection[str]) -> str:
    """Return the end of a sentence that names the nearest of `names`, or else all of them if there are up to 6."""
    if near := nearest(name, names):
        return f"; did you mean {near!r}?"
    return f"; there are {', '.join(sorted(names))}" if len(names) <= 6 else ""


def nearest(name: str, names: Collection[str]) -> str | None:
    """Return the one of `names` that `name` may be a misspelling of."""
    # First a name that differs in case only, since `Relu` has more letters in common with elu than with relu.
    same = [each for each in names if each.casefold() == name.casefold()]
    return next(iter(same or difflib.get_close_matches(name, names, n=1)), None)


def excerpt(value: object) -> str:
    """Return `value` as a table writes it, cut to 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 3]}..."


def validate(model: type[M], data: object, place: Place, note: Callable[[Place, str], None]) -> M | None:
    """Return `data` as a `model`, or None after the first fault of each field is passed to `note`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for where, message in _faults(model, place, error.errors(include_url=False, include_context=False)):
            note(where, message)
        return None


def _faults(model: type[Model], place: Place, errors: Sequence[ErrorDetails]) -> Iterator[tuple[Place, str]]:
    by_field: dict[tuple[str, ...], list[tuple[Place, ErrorDetails]]] = {}
    missing: dict[str, Place] = {}
    misspelled: set[str | None] = set()
    for error in errors:
        steps, where = _walk(place, error["loc"])
        name = str(error["loc"][-1]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            around = place.at(*steps[:-1])
            names = list((_model_at(model, steps[:-1]) or model).model_fields)
            misspelled.add(nearest(name, names))
            yield around.keys.get(name, around), f"unknown field {excerpt(name)}{did_you_mean(name, names)}"
        elif error["type"] == "missing":
            missing[name] = where
        elif error["type"] != "none_required":  # an optional field has this error beside its other one
            field = tuple(step for step in steps if isinstance(step, str))
            by_field.setdefault(field, []).append((where, error))
    # A misspelled field is reported as unknown, and not also as missing.
    yield from ((where, f"{name} is missing") for name, where in missing.items() if name not in misspelled)
    for field, field_errors in by_field.items():
        # Each branch of a union has an error. The most helpful is a whole sentence, and then the innermost.
        where, error = max(field_errors, key=lambda each: (each[1]["type"] == "whole_sentence", len(each[1]["loc"])))
        if error["type"] == "whole_sentence":
            yield where, error["msg"]
            continue
        allowed, types = _allowed_values(model, field), {each["type"] for _, each in field_errors}
        yield where, f"{allowed}, not {excerpt(error['input'])}{_correction(error['input'], types, allowed)}"


def _correction(value: object, types: Set[str], allowed: str) -> str:
    """
    Return what to write in place of a value that another language accepts, as the end of a sentence.

    - `types`: the types of pydantic's errors of the value.
    - `allowed`: the words for the values that the field allows.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    correction: str | None = None
    if isinstance(value, str):
        word = value.strip().casefold()
        if "bool_type" in types and word in _BOOLEANS:
            correction = _BOOLEANS[word]
        elif word == "none" and "null" in allowed:
            correction = "null"
        elif types & {"int_type", "float_type"} and re.fullmatch("[0-9]+", word):
            correction = word
        elif "list_type" in types and (match := re.fullmatch(_TUPLE, word)):
            inner = [each.strip() for each in match[1].split(",") if each.strip()]
            correction = f"[{', '.join('null' if each == 'none' else each for each in inner)}]"
    elif is_number and "list_type" in types and "int_type" not in types:
        correction = f"[{value}]"
    return "" if correction is None else f": write {correction}"


def _walk(place: Place, loc: Sequence[str | int]) -> tuple[list[str | int], Place]:
    """Return the steps of a pydantic location that are in the data, without the names of union branches."""
    steps = []
    for step in loc:
        if step in place.items:
            place = place.items[step]
            steps.append(step)
    return steps, place


def _model_at(model: type[Model], path: Sequence[str | int]) -> type[Model] | None:
    """Return the model of the mapping at `path`, None where it has none."""
    inner: type[Model] | None = model
    for step in path:
        field = inner.model_fields.get(str(step)) if inner else None
        types = (field.annotation, *get_args(field.annotation)) if field else ()
        inner = next((each for each in types if isinstance(each, type) and issubclass(each, Model)), None)
    return inner


def _allowed_values(model: type[Model], path: Sequence[str]) -> str:
    """Return the values allowed at `path`, in the words of the innermost field of the path that has words."""
    for end in range(len(path), 0, -1):
        name, around = path[end - 1], _model_at(model, path[: end - 1])
        if around and name in around.model_fields:
            words = [each.text for each in around.model_fields[name].metadata if isinstance(each, AllowedValues)]
            return f"{name} must be {words[0]}"
    return "this must be a mapping"


def omit(mapping: Mapping[str, T], *keys: str) -> dict[str, T]:
    """Return a copy of `mapping` without `keys`."""
    return {key: value for key, value in mapping.items() if key not in keys}
