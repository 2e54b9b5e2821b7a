"""
The core schema of YAML 1.2: plain scalars to data, and data to text.

PyYAML finds the scalars and their places by libyaml. Its types of scalars are not used, since they are those of
YAML 1.1, in which `no` is false and `1e-6` is text.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

MAX_DIGITS: Final = 18
"""Longest integer that is read. No length, count or index of an array has as many digits."""

#: The value of a scalar.
Scalar = str | int | float | bool | None

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


def resolve(text: str) -> Scalar:
    """
    Return the value of a plain scalar under the core schema of YAML 1.2: `1e-6` is a number, `no` a string.

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


def dump(data: object, *, width: int = 110, flow: bool | None = None, ascii_only: bool = False) -> str:
    """
    Return plain data as YAML, without anchors and aliases.

    - `width`: preferred length of a line.
    - `flow`: whether collections are in brackets. By default only those that hold no collection are.
    - `ascii_only`: whether each character outside ASCII is written as its number.
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


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML comes without types
    """A dumper that puts a text in quotes where YAML 1.2 would read the plain text as something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return str(super().resolve(kind, value, implicit))
        try:
            scalar_type = type(resolve(value))
        except ValueError:
            scalar_type = int
        return f"tag:yaml.org,2002:{_TAGS[scalar_type]}"
