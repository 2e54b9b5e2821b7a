"""
One YAML 1.2 file as plain data, with the line and column of every key and value.

Files are written by people and may come from anywhere. For every file the result is data, or a list of faults with
file, line and column; no content causes a traceback. libyaml parses a file to events, which become dicts, lists and
scalars. No loader that builds other objects is used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import yaml

from conformance.table.core_schema import Scalar, resolve

if not yaml.__with_libyaml__:
    raise ImportError(
        "PyYAML was built without libyaml; install a wheel: pip install --force-reinstall --only-binary :all: pyyaml"
    )

MAX_BYTES: Final = 2**20
"""Largest file that is read. A table of this size has thousands of rows and takes seconds."""
MAX_DEPTH: Final = 32
#: Most keys of a mapping. No mapping of a table or a ledger needs nearly as many.
MAX_KEYS: Final = 1_000
#: Most faults of one file that are kept. The others are counted.
MAX_FAULTS: Final = 100
#: Longest message, in characters.
_MAX_MESSAGE: Final = 200
#: Characters that no file may contain: control characters, and marks that change the order in which text is displayed.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


#: A collection while it is built.
Container = list[object] | dict[str, object]


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One thing that is wrong with a file, and where."""

    file: str
    #: Line and column count from 1.
    line: int
    column: int
    message: str
    #: Number of faults. The last fault of a file with more than `MAX_FAULTS` stands for all others.
    count: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class Faults:
    """The faults of files, each once: the first `MAX_FAULTS` of each file, and the number of its others."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._kept: dict[str, set[Fault]] = {}
        self._more: dict[str, Fault] = {}
        self.update(faults)

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        kept = self._kept.setdefault(fault.file, set())
        if fault in kept:
            return
        if len(kept) < MAX_FAULTS and fault.count == 1:
            kept.add(fault)
            return
        before = self._more.get(fault.file)
        count = fault.count + (0 if before is None else before.count)
        line, column = max((fault.line, fault.column), (0, 0) if before is None else (before.line, before.column))
        message = f"and {count:,} more fault{'s' if count > 1 else ''} of this file, the last one here"
        self._more[fault.file] = Fault(fault.file, line, column, message, count)

    def update(self, faults: Iterable[Fault]) -> None:
        """Add several faults."""
        for each in faults:
            self.add(each)

    def all(self) -> tuple[Fault, ...]:
        """Return the faults in the order of file, line and column; the one for the others of a file is its last."""
        files = sorted(self._kept)
        more = ([self._more[each]] if each in self._more else [] for each in files)
        return tuple(
            fault for each, rest in zip(files, more, strict=True) for fault in (*sorted(self._kept[each]), *rest)
        )


class DocumentError(ValueError):
    """Files with faults. `str()` has a line for each fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class Place:
    """
    Where a value stands in its file.

    - `line`, `column`: from 1.
    - `keys`: the places of a mapping's keys.
    - `items`: the places of a collection's items. So the tree of places has the shape of the data.
    """

    __slots__ = ("column", "items", "keys", "line")

    def __init__(
        self,
        line: int,
        column: int,
        keys: Mapping[str, Place] = MappingProxyType({}),
        items: Mapping[str | int, Place] = MappingProxyType({}),
    ) -> None:
        self.line = line
        self.column = column
        self.keys = keys
        self.items = items

    def at(self, *path: str | int) -> Place:
        """Return the place of the value at `path`. A step that is not in the data is skipped."""
        place = self
        for step in path:
            place = place.items.get(step, place)
        return place


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The content of one file. It may have faults though its data is complete."""

    file: str
    #: Dicts, lists and scalars; None where the file cannot be read to its end.
    data: object
    place: Place
    faults: tuple[Fault, ...]


def read(path: Path, name: str | None = None) -> Document:
    """Return the content of one file. Its faults have `name`, or else `path`, as the name of the file."""
    builder = _Builder(str(path) if name is None else name)
    data: object = None
    place = Place(1, 1)
    with contextlib.suppress(_UnreadableError):
        data, place = builder.build(_text(builder, path))
    return Document(file=builder.file, data=data, place=place, faults=builder.faults.all())


class _UnreadableError(Exception):
    """The rest of the file cannot be read. The fault is in the builder's `faults`."""


def _text(builder: _Builder, path: Path) -> str:
    """Return the text of a file, without byte order mark. A file with a forbidden character is unreadable."""
    try:
        # A pipe or a device may have no end.
        if path.exists() and not path.is_file():
            raise builder.unreadable(1, 1, "not a file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise builder.unreadable(1, 1, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise builder.unreadable(1, 1, f"larger than {MAX_BYTES} bytes: split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8-sig"))
        raise builder.unreadable(line, column, f"not UTF-8: byte 0x{raw[error.start]:02x}") from None
    if match := _FORBIDDEN.search(text):
        raise builder.unreadable(*_position(text[: match.start()]), _not_allowed(match[0]))
    return text


def _position(before: str) -> tuple[int, int]:
    """Return line and column of the character that follows `before`."""
    lines = re.split("\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1


class _Builder:
    """Makes data and places of the events of one file. Its own stack in place of recursion bears any depth."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults = Faults()
        self._root: tuple[object, Place] | None = None
        self._stack: list[_OpenCollection] = []
        self._handlers: dict[type[yaml.Event], Callable[[yaml.Event], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._open_sequence,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
            yaml.DocumentStartEvent: self._document,
            yaml.AliasEvent: self._alias,
        }

    def fault(self, line: int, column: int, message: str) -> None:
        """Add a fault."""
        self.faults.add(Fault(self.file, line, column, message[:_MAX_MESSAGE]))

    def unreadable(self, line: int, column: int, message: str) -> _UnreadableError:
        """Add a fault after which nothing is read, and return the exception to raise."""
        self.fault(line, column, message)
        return _UnreadableError()

    def build(self, text: str) -> tuple[object, Place]:
        """Return the data of the only document of a text, and its places."""
        try:
            for event in yaml.parse(text, Loader=yaml.CBaseLoader):
                if handler := self._handlers.get(type(event)):
                    handler(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._unreadable_at(mark, f"not YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise self.unreadable(1, 1, f"not YAML: {error}") from None
        if self._root is None or self._root[0] is None:
            raise self.unreadable(1, 1, "empty file")
        return self._root

    def _unreadable_at(self, mark: yaml.Mark | None, message: str) -> _UnreadableError:
        return self.unreadable(1, 1, message) if mark is None else self.unreadable(*_place(mark), message)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        if self._root is not None:
            raise self._unreadable_at(event.start_mark, "a second document: one to a file")
        if event.version not in (None, (1, 2)):
            raise self.unreadable(1, 1, "only YAML 1.2 is read")

    def _alias(self, event: yaml.AliasEvent) -> None:
        raise self._unreadable_at(event.start_mark, "an alias: write the value out")

    def _check_plain(self, event: yaml.NodeEvent) -> None:
        """Refuse a value with an anchor or a tag."""
        if event.anchor is not None:
            raise self._unreadable_at(event.start_mark, "an anchor: write values out where they are needed")
        if event.tag is not None:
            raise self._unreadable_at(event.start_mark, "a tag: only plain data is read")

    def _open_sequence(self, event: yaml.SequenceStartEvent) -> None:
        self._open([], event)

    def _open_mapping(self, event: yaml.MappingStartEvent) -> None:
        self._open({}, event)

    def _open(self, container: Container, event: yaml.CollectionStartEvent) -> None:
        self._check_plain(event)
        if len(self._stack) == MAX_DEPTH:
            raise self._unreadable_at(event.start_mark, f"nested more than {MAX_DEPTH} deep")
        self._stack.append(_OpenCollection(container, *_place(event.start_mark)))

    def _close(self, _event: yaml.CollectionEndEvent) -> None:
        closed = self._stack.pop()
        self._attach(closed.container, closed.place)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_plain(event)
        line, column = _place(event.start_mark)
        value: Scalar = event.value
        if not value and event.implicit[0] and self._stack and self._stack[-1].key:
            # An omitted value has no place of its own: libyaml gives the end of the text before it.
            key_place = self._stack[-1].key[1]
            line, column = key_place.line, key_place.column
        if event.implicit[0]:
            try:
                value = resolve(event.value)
            except ValueError as error:
                raise self.unreadable(line, column, str(error)) from None
        elif match := _FORBIDDEN.search(event.value):
            self.fault(line, column, _not_allowed(match[0]))
            # Other faults may quote the value, and half of a surrogate pair cannot be printed.
            value = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", event.value)
        self._attach(value, Place(line, column))

    def _attach(self, value: object, place: Place) -> None:
        """Add a value to the innermost open collection; in a mapping that has no open key it is the next key."""
        if not self._stack:
            self._root = value, place
            return
        around = self._stack[-1]
        if isinstance(around.container, list):
            around.items[len(around.container)] = place
            around.container.append(value)
        elif around.key is None:
            if not isinstance(value, str):
                raise self.unreadable(place.line, place.column, "a key that is not a word")
            if len(around.keys) == MAX_KEYS and value not in around.keys:
                raise self.unreadable(place.line, place.column, f"a mapping of more than {MAX_KEYS} keys")
            around.key = value, place
        else:
            key, key_place = around.key
            around.key = None
            if key in around.container:
                # The first of two values stays, so that other faults of the mapping are found as well.
                message = f"duplicate key {key!r}, first on line {around.keys[key].line}"
                self.fault(key_place.line, key_place.column, message)
            else:
                around.container[key], around.keys[key], around.items[key] = value, key_place, place


class _OpenCollection:
    """A collection whose end is still to come. `key` is the key of a mapping whose value is still to come."""

    __slots__ = ("container", "items", "key", "keys", "place")

    def __init__(self, container: Container, line: int, column: int) -> None:
        self.container = container
        self.key: tuple[str, Place] | None = None
        self.keys: dict[str, Place] = {}
        self.items: dict[str | int, Place] = {}
        self.place = Place(line, column, self.keys, self.items)


def _place(mark: yaml.Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _not_allowed(character: str) -> str:
    return "a tab: write spaces" if character == "\t" else f"a character that is not allowed: U+{ord(character):04X}"
