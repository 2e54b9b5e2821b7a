"""The colours of an explanation in a terminal: headings, labels and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

#: A line of an explanation -> its style: headings, words of a summary, labels of an item.
_STYLES = (
    (re.compile(r"^(In|Input|Why|dense)\b.*"), "bold cyan"),
    (re.compile(r"^ (Total|Trainable|Non-trainable) params:.*"), "bold"),
    (re.compile(r"^  (rank|batch axis|replaced|kept|parameters|computes|activation)\b"), "green"),
    (re.compile(r"^ {14}\S.* (@|=) .*"), "yellow"),
    (re.compile(r"#.*$"), "dim"),
)


def show(text: str) -> None:
    """Print the text of an explanation in colour."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for part in _parts(text):
        console.print(part)


def _parts(text: str) -> Iterator[Text]:
    """Yield each line in its style, and code with its syntax highlighted."""
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
            if (match := pattern.search(line)) is not None:
                styled.stylize(style, *match.span())
                break
        yield styled
