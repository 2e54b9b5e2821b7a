"""
YAML 1.2 as this project reads it: parsing events, and what a plain scalar says.

ruamel.yaml parses. Its own reading of plain scalars is not used, because it goes past the core schema of YAML 1.2 (it
takes `1_000` for a number and `2024-01-01` for a date); its scanner is used with the look-ups taken out that cost half
of its time, and it stops at aliases, anchors and tags. No constructor is involved, so nothing here can build an object.

libyaml, by way of PyYAML, parses ten times as fast. It reads YAML 1.1, and says other things of what is wrong, so that
it is used for the files alone that both read alike: `quick_events` gives up at all else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import Event
from ruamel.yaml.parser import Parser
from ruamel.yaml.scanner import Scanner

MAX_DIGITS: Final = 18
"""Longest integer read: no length, count or index of an array has as many digits."""

#: The core schema, YAML 1.2 section 10.3.2: words are looked up, numbers matched.
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


#: What the two parsers place or read differently: directives, markers of documents, a value right behind a quoted key,
#: and empty lines at the head of a block scalar.
_APART: Final = re.compile(
    r"""(?:^|\r)(?:%|---|\.\.\.) | ["']:[^\s,\]}] | [|>][-+0-9]*[ ]*(?:\#[^\r\n]*)?[\r\n]+[ ]*[\r\n]""",
    re.MULTILINE | re.VERBOSE,
)


class UnlikeError(ValueError):
    """YAML that libyaml may read otherwise than YAML 1.2 is read here, or that something is wrong with."""


class RefusedError(MarkedYAMLError):
    """YAML that is not read: `problem` says what, `problem_mark` where."""


def resolve(text: str) -> str | int | float | bool | None:
    """
    Return what a plain scalar says under the core schema of YAML 1.2: `1e-6` is a number, `no` a string.

    Raises:
        ValueError: an integer of more than `MAX_DIGITS` digits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        if len(text.lstrip("+-")) > MAX_DIGITS:
            raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def events(text: str) -> Iterator[Event]:
    """
    Yield ruamel.yaml's parsing events for `text`, at about twice its speed.

    Raises:
        RefusedError: an alias, an anchor or a tag, before anything is made of it.
        MarkedYAMLError: not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _Scanner
    yaml.Parser = _Parser
    return iter(yaml.parse(text))


def quick_events(text: str) -> Iterator[Any]:
    """
    Yield libyaml's parsing events for `text`, which are those of `events` in kind, value, marks and whether implicit.

    Raises:
        UnlikeError: perhaps only at a later event, `text` is not for libyaml: ask `events`.
    """
    # The end of a last line without a break is elsewhere; and PyYAML may have been built without libyaml.
    if not (yaml.__with_libyaml__ and text.endswith("\n")) or _APART.search(text):
        raise UnlikeError
    before = None
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
                raise UnlikeError
            if type(event) is yaml.ScalarEvent and (
                # A value left out is placed elsewhere; and a block scalar that is all of a document may stand at the
                # margin, where a comment may too.
                (not event.value and event.implicit[0]) or before is yaml.DocumentStartEvent
            ):
                raise UnlikeError
            before = type(event)
            yield event
    except yaml.YAMLError:
        raise UnlikeError from None


class _Scanner(Scanner):
    """ruamel.yaml's scanner, without looking up its reader and its possible keys anew for every character."""

    reader: Any = None

    def __init__(self, loader: Any) -> None:
        self.reader = loader.reader
        super().__init__(loader)

    def need_more_tokens(self) -> bool:
        if self.done:
            return False
        if not self.possible_simple_keys:
            return not self.tokens
        return super().need_more_tokens()

    def check_token(self, *choices: Any) -> bool:
        while self.need_more_tokens():
            self.fetch_more_tokens()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def fetch_alias(self) -> None:
        self._refuse("an alias: write the value out")

    def fetch_anchor(self) -> None:
        self._refuse("an anchor: write values out where they are needed")

    def fetch_tag(self) -> None:
        self._refuse("a tag: only plain data is read")

    def _refuse(self, problem: str) -> None:
        raise RefusedError(problem=problem, problem_mark=self.reader.get_mark())


class _Parser(Parser):
    """ruamel.yaml's parser, without looking up its scanner anew for every token."""

    scanner: Any = None

    def __init__(self, loader: Any) -> None:
        self.scanner = loader.scanner
        super().__init__(loader)
