"""
The core schema of YAML 1.2: what a plain scalar says, and plain data as a text that says it.

libyaml, by way of PyYAML, finds the scalars and their places. PyYAML's own reading of them is not used: it is that of
YAML 1.1, in which `no` is false and `1e-6` is text.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

MAX_DIGITS: Final = 18
"""Longest integer read: no length, count or index of an array has as many digits."""

#: YAML 1.2 section 10.3.2: words are looked up, numbers matched.
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TAGS: Final = {str: "str", bool: "bool", int: "int", float: "float", type(None): "null"}


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


def dump(data: Any, *, width: int = 110, flow: bool | None = None, ascii_only: bool = False) -> str:
    """
    Return plain data as YAML, without anchors and aliases.

    - `width`: preferred length of a line.
    - `flow`: whether collections are in brackets; by default those alone that hold no collection.
    - `ascii_only`: write each other character as its number.
    """
    text: str = yaml.dump(
        data,
        Dumper=_Dumper,
        width=width,
        default_flow_style=flow,
        allow_unicode=not ascii_only,
        sort_keys=False,
    )
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Puts a text in quotes where it would say something else as a plain scalar of YAML 1.2."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return str(super().resolve(kind, value, implicit))
        try:
            found = type(resolve(value))
        except ValueError:
            found = int
        return f"tag:yaml.org,2002:{_TAGS[found]}"
