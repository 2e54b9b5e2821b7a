"""
Colour for text that people read in a terminal; none where it is piped, or where NO_COLOR asks for none.

What is said never depends on it: the same characters are written either way.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

#: A line of an explanation -> its style: headings, words of a summary, labels of an item.
_STYLES = (
    (re.compile(r"^(In|Input|Why|dense)\b.*"), "bold cyan"),
    (re.compile(r"^ (Total|Trainable|Non-trainable) params:.*"), "bold"),
    (re.compile(r"^  (rank|batch axis|replaced|kept|parameters|computes|activation)\b"), "green"),
    (re.compile(r"^ {14}\S.* (@|=) .*"), "yellow"),
    (re.compile(r"#.*$"), "dim"),
)


def is_coloured(stream: IO[str] | None = None) -> bool:
    """Return whether a stream, stdout by default, is a terminal that wants colour."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(text: str) -> None:
    """Print the text of an explanation in colour."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for part in _parts(text):
        console.print(part)


def show_lines(lines: Iterable[tuple[str, str]], stream: IO[str]) -> None:
    """Print lines, each in its own style, to a terminal that is not stdout; none of them is read as markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True)
    for line, style in lines:
        console.print(Text(line, style))


def _parts(text: str) -> Iterator[Any]:
    """Yield lines in their styles, and code as code."""
    from rich.syntax import Syntax
    from rich.text import Text

    code = False
    for line in text.split("\n"):
        if not line.startswith(" "):
            code = line.startswith("In ") if line else code
        if code and line.startswith("    "):
            highlighted = Syntax("", "python", background_color="default", theme="ansi_dark").highlight(line)
            highlighted.rstrip()
            yield highlighted
            continue
        styled = Text(line)
        for pattern, style in _STYLES:
            if (found := pattern.search(line)) is not None:
                styled.stylize(style, *found.span())
                break
        yield styled
