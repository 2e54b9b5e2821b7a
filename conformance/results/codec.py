"""
Lines of JSON -> records, and records -> plain data.

Most lines have no field but those that the types name, and are decoded at once. Any other line is decoded as plain
data first, from which the fields without a name are put aside.
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

from conformance.results.record import Part, Record, Rest

#: How deep a line may be nested. Python's own limit depends on who reads, and who writes needs as much again.
DEEPEST: Final = 64
P = TypeVar("P", bound=Part)


class BrokenLine(ValueError):
    """A line that is no JSON, no UTF-8, or nested too deep; says which."""


class UnfitLine(ValueError):
    """A line of JSON that is no record; says which field is not as every reader relies on."""


def record_of(line: bytes, *, strict: bool = True) -> Record:
    """
    Return the record of a line.

    Half of a surrogate pair, which is no character and which earlier versions wrote, becomes U+FFFD. Where it is not
    `strict`, a field that does not fit its type is put aside as one without a name: text that must be there is then
    the JSON of what is there, an outcome `violates`.

    Raises:
        BrokenLine: it is no JSON, no UTF-8, or nested too deep.
        UnfitLine: it is no record.
    """
    try:
        found: Record = _DECODE_RECORD(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _fitted(_decoded(line), strict=strict)
    if _may_be_deep(line):
        _decoded(line)
    return found


def part_of(content: Mapping[str, Any], kind: type[P]) -> P:
    """Return a record, or a part of one, of plain data; what does not fit its type is among the rest."""
    made = finite(content)
    try:
        return msgspec.convert(made, kind)
    except msgspec.ValidationError:
        _put_aside(made, kind, strict=False)
        return msgspec.convert(made, kind)


def plain(part: Part) -> dict[str, Any]:
    """Return a record or a part of one as plain data, its further fields among the others."""
    content: dict[str, Any] = msgspec.to_builtins(part)
    _put_back(content, part)
    return content


def encoded(record: Record) -> str:
    """Return the line of a record, without its end."""
    content = plain(record)
    try:
        line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        line = json.dumps(finite(content), ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair, as a framework's message may hold, is no character that UTF-8 could encode.
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", line)


def finite(value: Any) -> Any:
    """Return `value` as JSON can hold it: tuples as lists, numbers that are not finite as the strings of their repr."""
    try:
        # Most values can be held as they are, and there and back through text takes a tenth of a walk's time.
        return _decoded(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError):
        return _finite(value)


def _finite(value: Any) -> Any:
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
        ValueError: the line is no header.
    """
    content = _decoded(line)
    if not isinstance(content, dict) or content.get("type") != "header":
        raise UnfitLine("not a header")
    return content.get("schema")


def _decoded(line: bytes) -> Any:
    """Return what a line says, as plain data; raises `BrokenLine`."""
    try:
        value = _DECODE(line)
    except RecursionError:
        raise BrokenLine(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = _without_halves(line)
        if whole != line:
            return _decoded(whole)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            raise BrokenLine("not UTF-8") from None
        raise BrokenLine("not JSON") from None
    if _may_be_deep(line) and _is_deeper(value, DEEPEST):
        raise BrokenLine(_TOO_DEEP)
    return value


def _fitted(content: Any, *, strict: bool) -> Record:
    """Return the record of plain data; raises `UnfitLine`."""
    kind = _RECORDS.get(content["type"]) if isinstance(content, dict) and _is_text(content.get("type")) else None
    if kind is None:
        raise UnfitLine("not a record of a results file")
    _put_aside(content, kind, strict=strict)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        raise UnfitLine(f"not a record of a results file: {f'{place}: {said}' if place else said}") from None


def _put_aside(content: dict[str, Any], kind: type[Part], *, strict: bool) -> None:
    """Move the fields that a type does not name into its `rest`, and where it is not `strict` those that do not fit."""
    fields, inner = _fields(kind), _inner(kind)
    rest = Rest()
    for name in list(content):
        if name not in fields:
            rest[name] = content.pop(name)
            continue
        if name in inner:
            _put_aside_within(content, name, inner[name], strict=strict)
        if not strict and not _fits(content[name], fields[name].type):
            rest[name] = content.pop(name)
    if not strict:
        for name, field in fields.items():
            if field.required and name not in content:
                content[name] = _stand_in(name, rest)
    # A tag stays where it is: it is no field of the type, and is looked at again.
    if kind.__struct_config__.tag is not None:
        content["type"] = rest.pop("type", kind.__struct_config__.tag)
    if rest:
        content["rest"] = rest


def _put_aside_within(content: dict[str, Any], name: str, kind: type[Part], *, strict: bool) -> None:
    """Do the same for the parts that a field holds."""
    value = content[name]
    if isinstance(value, list) and not strict:
        value = content[name] = [each for each in value if isinstance(each, dict)]
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            _put_aside(each, kind, strict=strict)


def _stand_in(name: str, rest: Rest) -> object:
    """Return what stands for a field that must be there and is not, or does not fit."""
    if name == "outcome":
        # What cannot be understood fails, and is among the rest even where it is missing.
        rest.setdefault("outcome", None)
        return "violates"
    if name == "checks":
        return []
    return json.dumps(rest[name], ensure_ascii=False) if rest.get(name) is not None else ""


def _put_back(content: dict[str, Any], part: Part) -> None:
    """Put what was put aside among the other fields of plain data."""
    rest = content.pop("rest", None)
    for name in _inner(type(part)):
        value = getattr(part, name)
        if isinstance(value, Part):
            _put_back(content[name], value)
        elif value:
            for each, one in zip(content[name], value, strict=True):
                _put_back(each, one)
    if rest:
        content.update(rest)  # where a field did not fit, something else stands for it


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


@functools.cache
def _fields(kind: type[Part]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the fields of a type that a file may have, by name."""
    return {each.name: each for each in msgspec.structs.fields(kind) if each.name != "rest"}


@functools.cache
def _inner(kind: type[Part]) -> Mapping[str, type[Part]]:
    """Return the fields of a type that hold parts, or lists of them, with the type of the parts."""
    return {name: part for name, field in _fields(kind).items() for part in _parts(field.type)}


def _parts(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for each in typing.get_args(annotation):
        yield from _parts(each)


def _without_halves(line: bytes) -> bytes:
    """Return a line of JSON with the escape of U+FFFD for that of half of a surrogate pair."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], line)


def _may_be_deep(line: bytes) -> bool:
    return line.count(b"[") + line.count(b"{") > DEEPEST


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and mappings are nested in more levels than that."""
    if not isinstance(value, list | dict):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_HALF: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"nested more than {DEEPEST} deep"
#: An escape in JSON: a whole pair, half of one, or any other.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_DECODE: Final = msgspec.json.Decoder().decode
_DECODE_RECORD: Final = msgspec.json.Decoder(Record).decode
_RECORDS: Final[Mapping[str, type[Record]]] = {each.__struct_config__.tag: each for each in typing.get_args(Record)}
