"""
Text that came from elsewhere, a framework's message or a file's name, made fit to be shown: it is read, never obeyed.

Knows nothing of where the text came from; a page has its own ways, as it must mark what it shows.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text in one line without control characters, marks of direction and what else a terminal would act on."""
    unseen = "\N{REPLACEMENT CHARACTER}"
    return "".join(each if each.isprintable() else " " if each.isspace() else unseen for each in text)


def code(text: str) -> str:
    """Return text as code in Markdown, where nothing of it is a link, a mention or a tag."""
    return "`" + (printable(text).replace("`", "'").strip() or " ") + "`"
