"""
Lines of JSON -> records, and records -> plain data.

Most lines have only fields that the types name; msgspec decodes them at once. Any other line is decoded as plain data
first. Fields that the types do not name are then moved into `rest`.
"""

from __future__ import annotations

import functools
import json
import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from conformance.results.record import Json, Part, Record, Rest

#: How deep a line may be nested (levels). Python's own limit on recursion depends on the caller.
DEEPEST: Final = 64
P = TypeVar("P", bound=Part)


class BrokenLine(ValueError):
    """A line that is not JSON, not UTF-8, or nested too deep. The message says which."""


class UnfitLine(ValueError):
    """A line of JSON that is not a record. The message names the field that does not fit its type."""


def record_of(line: bytes, *, strict: bool = True) -> Record:
    """
    Return the record of a line.

    Half of a surrogate pair, which is not a character and which earlier versions wrote, becomes U+FFFD.

    - `line`: one line of a results file.
    - `strict`: if False, a field that does not fit its type is moved into `rest`. In its place a required text is the
      JSON of the value, and an outcome is `violates`.

    Raises:
        BrokenLine: the line is not JSON, not UTF-8, or nested too deep.
        UnfitLine: the line is not a record.
    """
    try:
        record: Record = _DECODE_RECORD(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _convert_record(_decode(line), strict=strict)
    if _may_be_deep(line):
        _decode(line)
    return record


def part_of(content: Mapping[str, Any], kind: type[P]) -> P:
    """Return plain data as a record or a part of one; fields that do not fit their type are moved into `rest`."""
    fields: dict[str, Json] = finite(content)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError:
        _move_to_rest(fields, kind, strict=False)
        return msgspec.convert(fields, kind)


def plain(part: Part) -> dict[str, Any]:
    """Return a record or a part of one as plain data, with the fields of `rest` among the named fields."""
    content: dict[str, Any] = msgspec.to_builtins(part)
    _restore_rest(content, part)
    return content


def encode(record: Record) -> str:
    """Return the line of a record, without the newline."""
    content = plain(record)
    try:
        line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        line = json.dumps(finite(content), ensure_ascii=False, allow_nan=False)
    # A framework's message may have half of a surrogate pair, which UTF-8 cannot encode.
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", line)


def finite(value: object) -> Any:
    """Return `value` as data of JSON: tuples become lists, numbers that are not finite the strings of their repr."""
    try:
        # Most values need no change. The way through text takes a tenth of the time of `_finite`.
        return _decode(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError):
        return _finite(value)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def schema_of(line: bytes) -> object:
    """
    Return the schema that a header names, None where it names none.

    Raises:
        ValueError: the line is not a header.
    """
    content = _decode(line)
    if not isinstance(content, dict) or content.get("type") != "header":
        raise UnfitLine("not a header")
    return content.get("schema")


def _decode(line: bytes) -> Json:
    """Return the plain data of a line; raises `BrokenLine`."""
    try:
        value: Json = _DECODE(line)
    except RecursionError:
        raise BrokenLine(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = _replace_halves(line)
        if whole != line:
            return _decode(whole)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            raise BrokenLine("not UTF-8") from None
        raise BrokenLine("not JSON") from None
    if _may_be_deep(line) and _is_deeper(value, DEEPEST):
        raise BrokenLine(_TOO_DEEP)
    return value


def _convert_record(content: Json, *, strict: bool) -> Record:
    """Return the record of plain data; raises `UnfitLine`."""
    tag = content.get("type") if isinstance(content, dict) else None
    kind = _RECORDS.get(tag) if isinstance(tag, str) else None
    if kind is None or not isinstance(content, dict):
        raise UnfitLine("not a record of a results file")
    _move_to_rest(content, kind, strict=strict)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        raise UnfitLine(f"not a record of a results file: {f'{place}: {reason}' if place else reason}") from None


def _move_to_rest(content: dict[str, Json], kind: type[Part], *, strict: bool) -> None:
    """Move fields that a type does not name into `rest`; if not `strict`, also fields that do not fit their type."""
    fields, inner = _fields(kind), _inner(kind)
    rest = Rest()
    for name in list(content):
        if name not in fields:
            rest[name] = content.pop(name)
            continue
        if name in inner:
            _move_to_rest_within(content, name, inner[name], strict=strict)
        if not strict and not _fits(content[name], fields[name].type):
            rest[name] = content.pop(name)
    if not strict:
        for name, field in fields.items():
            if field.required and name not in content:
                content[name] = _substitute(name, rest)
    # The tag is not a field of the type, and msgspec reads it.
    if kind.__struct_config__.tag is not None:
        content["type"] = rest.pop("type", str(kind.__struct_config__.tag))
    if rest:
        content["rest"] = rest


def _move_to_rest_within(content: dict[str, Json], name: str, kind: type[Part], *, strict: bool) -> None:
    """Apply `_move_to_rest` to the parts in one field."""
    value = content[name]
    if isinstance(value, list) and not strict:
        value = content[name] = [each for each in value if isinstance(each, dict)]
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            _move_to_rest(each, kind, strict=strict)


def _substitute(name: str, rest: Rest) -> Json:
    """Return the value of a required field that is missing or does not fit its type."""
    if name == "outcome":
        # An outcome that cannot be understood fails. It is in `rest` even where the field is missing.
        rest.setdefault("outcome", None)
        return "violates"
    if name == "checks":
        return []
    return json.dumps(rest[name], ensure_ascii=False) if rest.get(name) is not None else ""


def _restore_rest(content: dict[str, Any], part: Part) -> None:
    """Move the fields of `rest` back among the named fields of plain data."""
    rest = content.pop("rest", None)
    for name in _inner(type(part)):
        value = getattr(part, name)
        if isinstance(value, Part):
            _restore_rest(content[name], value)
        elif value:
            for each, one in zip(content[name], value, strict=True):
                _restore_rest(each, one)
    if rest:
        content.update(rest)  # overwrites the substitute of a field that did not fit its type


def _fits(value: Json, annotation: object) -> bool:
    try:
        msgspec.convert(value, annotation)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


@functools.cache
def _fields(kind: type[Part]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the fields of a type, by name, without `rest`."""
    return {each.name: each for each in msgspec.structs.fields(kind) if each.name != "rest"}


@functools.cache
def _inner(kind: type[Part]) -> Mapping[str, type[Part]]:
    """Return the fields of a type that have parts, or lists of parts, with the type of the parts."""
    return {name: part for name, field in _fields(kind).items() for part in _parts(field.type)}


def _parts(annotation: object) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for each in typing.get_args(annotation):
        yield from _parts(each)


def _replace_halves(line: bytes) -> bytes:
    """Return a line of JSON with the escape of U+FFFD in place of each half of a surrogate pair."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match["half"] else match[0], line)


def _may_be_deep(line: bytes) -> bool:
    return line.count(b"[") + line.count(b"{") > DEEPEST


def _is_deeper(value: Json, levels: int) -> bool:
    """Return whether lists and mappings are nested more than `levels` deep."""
    if not isinstance(value, list | dict):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


_HALF: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"nested more than {DEEPEST} deep"
#: An escape in JSON: a whole pair, half of one, or any other.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_DECODE: Final = msgspec.json.Decoder().decode
_DECODE_RECORD: Final = msgspec.json.Decoder(Record).decode
_RECORDS: Final[Mapping[str, type[Record]]] = {each.__struct_config__.tag: each for each in typing.get_args(Record)}
