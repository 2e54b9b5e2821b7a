"""
Text fit for a terminal: control characters of foreign text replaced, and colour where the terminal wants it.

Foreign text is a framework's message or a file's name. Without colour (a pipe, NO_COLOR) the characters are the same.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import IO, Final

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


def is_coloured(stream: IO[str] | None = None) -> bool:
    """Return whether a stream, stdout by default, is a terminal that wants colour."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_lines(lines: Iterable[tuple[str, str]], stream: IO[str]) -> None:
    """Print lines, each in its own style, to a terminal that is not stdout; none of them is read as markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True)
    for line, style in lines:
        console.print(Text(line, style))
