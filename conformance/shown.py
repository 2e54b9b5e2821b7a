"""
Text that came from elsewhere, a framework's message or a file's name, made fit to be shown: it is read, never obeyed.

Knows nothing of where the text came from; a page has its own ways, as it must mark what it shows.
"""

from __future__ import annotations

import re
from typing import Final

#: What a terminal would act on, or a line of JSON cannot hold: control characters other than the end of a line and the
#: tab, marks of direction, halves of surrogate pairs.
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def legible(text: str) -> str:
    """Return text of any number of lines in which each character that steers a terminal is replaced."""
    if text.isprintable():
        return text
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def shortened(text: str, end: int) -> str:
    """Return the beginning and the end of a long text, so many characters of each: a cause may stand in either."""
    return text if len(text) <= 2 * end else f"{text[:end]}\n…\n{text[-end:]}"


def printable(text: str) -> str:
    """Return text in one line without control characters, marks of direction and what else a terminal would act on."""
    unseen = "\N{REPLACEMENT CHARACTER}"
    return "".join(each if each.isprintable() else " " if each.isspace() else unseen for each in text)


def code(text: str) -> str:
    """Return text as code in Markdown, where nothing of it is a link, a mention or a tag."""
    return "`" + (printable(text).replace("`", "'").strip() or " ") + "`"
