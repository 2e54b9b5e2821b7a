"""
Strict models of what a file may say, and pydantic's errors turned into faults with a place.

Shared by the table and the ledger, which differ in their fields and agree in everything else: an unknown field is
refused, nothing is coerced, nothing is null unless its field says so, and a fault is one clear sentence at the key or
value it is about. Knows no field of either.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from conformance.table.yaml_document import Place

T = TypeVar("T")
M = TypeVar("M", bound="Model")

_LINK: Final = r"""https?://[^\s<>"'`\\]+"""
_SHOWN: Final = 60
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
class Wants:
    """What a field takes, in words that end the sentence "it must be ..."."""

    text: str


def wrong(message: str) -> PydanticCustomError:
    """Return an error whose message is already the whole sentence."""
    # Braces would be taken for fields of a format.
    return PydanticCustomError("whole_sentence", "{sentence}", {"sentence": message})


def _given(value: Any) -> Any:
    if value is None:
        raise wrong("empty: say something, or leave the field out")
    return value


def _word(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise wrong("blank: say something, or leave the field out")
    return text


def _link(text: str) -> str:
    if not re.fullmatch(_LINK, text):
        raise wrong(f"{shown(text)} is not an http or https link")
    return text


#: A field that may be left out, and is None then, but may not be null.
Maybe = Annotated[T | SkipJsonSchema[None], BeforeValidator(_given)]
#: Words for people: not blank, runs of white space made one space.
Word = Annotated[str, AfterValidator(_word)]
Link = Annotated[str, AfterValidator(_link), Field(json_schema_extra={"pattern": f"^{_LINK}$"})]
NaturalNumber = Annotated[int, Field(ge=0)]
#: A list of which the first bad item is a fault: a file has room for 500,000 of them.
Several = Annotated[list[T], Field(fail_fast=True)]
Globs = Annotated[Several[Word], Field(min_length=1)]


def one_of(kind: str, names: Sequence[str]) -> tuple[AfterValidator, Any]:
    """Return the annotations that make a string one of `names`, each a `kind`."""

    def known(name: str) -> str:
        if name not in names:
            raise wrong(f"no such {kind}: {shown(name)}{did_you_mean(name, names)}")
        return name

    return AfterValidator(known), Field(json_schema_extra={"enum": list(names)})


def about(description: str, wants: str) -> tuple[Any, Wants]:
    """Return the annotations that explain a field: to an editor, and to someone who got it wrong."""
    return Field(description=description), Wants(wants)


def did_you_mean(name: str, names: Collection[str]) -> str:
    """Return the end of a sentence that names the nearest of `names`, or else all of them where they are few."""
    if near := nearest(name, names):
        return f"; did you mean {near!r}?"
    return f"; there are {', '.join(sorted(names))}" if len(names) <= 6 else ""


def nearest(name: str, names: Collection[str]) -> str | None:
    """Return the one of `names` that `name` may be a slip for."""
    # A slip of case alone first: by letters `Relu` is nearer to elu than to relu.
    same = [each for each in names if each.casefold() == name.casefold()]
    return next(iter(same or difflib.get_close_matches(name, names, n=1)), None)


def shown(value: Any) -> str:
    """Return `value` as a table would say it, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def validate(model: type[M], data: object, place: Place, note: Callable[[Place, str], None]) -> M | None:
    """Return `data` as a `model`, or None after having noted each field's first fault at its place."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for where, message in _explained(model, place, error.errors(include_url=False, include_context=False)):
            note(where, message)
        return None


def _explained(model: type[Model], place: Place, errors: Sequence[ErrorDetails]) -> Iterator[tuple[Place, str]]:
    by_field: dict[tuple[str, ...], list[tuple[Place, ErrorDetails]]] = {}
    missing: dict[str, Place] = {}
    meant: set[str | None] = set()
    for error in errors:
        steps, where = _walk(place, error["loc"])
        name = str(error["loc"][-1]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            around = place.at(*steps[:-1])
            known = list((_model_at(model, steps[:-1]) or model).model_fields)
            meant.add(nearest(name, known))
            yield around.keys.get(name, around), f"unknown field {shown(name)}{did_you_mean(name, known)}"
        elif error["type"] == "missing":
            missing[name] = where
        elif error["type"] != "none_required":  # which every field that may be left out says beside its own
            field = tuple(step for step in steps if isinstance(step, str))
            by_field.setdefault(field, []).append((where, error))
    # A field that was misspelt is not missing as well.
    yield from ((where, f"{name} is missing") for name, where in missing.items() if name not in meant)
    for field, found in by_field.items():
        # The branches of a union each say their own; a whole sentence says most, and then the innermost.
        where, error = max(found, key=lambda each: (each[1]["type"] == "whole_sentence", len(each[1]["loc"])))
        whole = error["type"] == "whole_sentence"
        if whole:
            yield where, error["msg"]
            continue
        wanted, types = _wanted(model, field), {each["type"] for _, each in found}
        yield where, f"{wanted}, not {shown(error['input'])}{_to_write(error['input'], types, wanted)}"


def _to_write(value: Any, types: Set[str], wanted: str) -> str:
    """
    Return what to write in place of a value that another language would take, as the end of a sentence.

    `types` are pydantic's types of its errors, `wanted` the words for what should be there.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    meant: str | None = None
    if isinstance(value, str):
        word = value.strip().casefold()
        if "bool_type" in types and word in _BOOLEANS:
            meant = _BOOLEANS[word]
        elif word == "none" and "null" in wanted:
            meant = "null"
        elif types & {"int_type", "float_type"} and re.fullmatch("[0-9]+", word):
            meant = word
        elif "list_type" in types and (found := re.fullmatch(_TUPLE, word)):
            inner = [each.strip() for each in found[1].split(",") if each.strip()]
            meant = f"[{', '.join('null' if each == 'none' else each for each in inner)}]"
    elif is_number and "list_type" in types and "int_type" not in types:
        meant = f"[{value}]"
    return "" if meant is None else f": write {meant}"


def _walk(place: Place, loc: Sequence[str | int]) -> tuple[list[str | int], Place]:
    """Return the steps of a pydantic location that are in the data, without its names for union branches."""
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


def _wanted(model: type[Model], path: Sequence[str]) -> str:
    """Return what should be at `path`, in the words of the innermost field on the way there that has any."""
    for end in range(len(path), 0, -1):
        name, around = path[end - 1], _model_at(model, path[: end - 1])
        if around and name in around.model_fields:
            wants = [each.text for each in around.model_fields[name].metadata if isinstance(each, Wants)]
            return f"{name} must be {wants[0]}"
    return "this must be a mapping"


def without(mapping: Mapping[str, T], *keys: str) -> dict[str, T]:
    """Return a copy of `mapping` without `keys`."""
    return {key: value for key, value in mapping.items() if key not in keys}
