"""
How things found in a results file are put into words: made visible, cut, formatted, sorted, linked.

Everything on the page was written by somebody else: a framework's message, a crashed process's last output, a table
from another project. Nothing here trusts any of it to be short, printable, of the right type or there at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

#: Longest text shown of one value that is not the end of a log.
LONGEST: Final = 4_000
#: Longest name that is shown whole.
LONGEST_TITLE: Final = 300

# What a page must never receive raw: controls but tab and newline (ANSI escapes begin with one), soft hyphen, bidi and
# zero-width marks, line separators, lone surrogates (which UTF-8 cannot write), noncharacters and tags. Ranges are
# written out rather than asked of unicodedata, so that every Python makes the same page.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
# A prefix and a suffix that cannot be mistaken for part of an id made of these characters.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:-]{1,120}")
# As above, for names that stand in an address: columns have a slash in them.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
_UNQUOTED: Final = "~:./_-"
_DIGITS: Final = re.compile(r"([0-9]{1,18})")
_URL: Final = re.compile(r"https?://[^\s\\\"'<>`{}|^]+", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Return `text` with every character that hides or reorders others written out: `\x1b`, `[U+202E]`."""
    return _INVISIBLE.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"[U+{code:04X}]"


def head(text: str, limit: int = LONGEST) -> str:
    """Return the beginning of `text`, with a note of how much was cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … [cut: {len(text) - limit:,} more characters in the results file]"


def tail(text: str, limit: int) -> str:
    """Return the end of `text`, where a crash says why, with a note of how much was cut."""
    if len(text) <= limit:
        return text
    return f"[cut: {len(text) - limit:,} earlier characters in the results file] …\n{text[-limit:]}"


def value(content: Any) -> str:
    """Return any JSON value as text: a string as it is, all else as JSON, cut where it is long."""
    if type(content) is str and len(content) <= LONGEST:
        return content
    return head(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str))


def title(content: Any) -> str:
    """Return a name of any JSON type as text, which stays a name of one thing where it has to be cut."""
    whole = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return whole if len(whole) <= LONGEST_TITLE else f"{whole[:280]}… [cut: {_digest(whole)}]"


def pairs(content: Any) -> list[tuple[str, str]]:
    """Return a mapping's entries as text, in its own order; anything but a mapping is one entry without a name."""
    if isinstance(content, Mapping):
        return [(head(str(key), 200), value(each)) for key, each in content.items()]
    return [] if content is None else [("", value(content))]


def number(content: Any) -> float | None:
    """Return a number, which results files write as a string where it is not finite, or None."""
    if type(content) is float:
        return content
    if isinstance(content, bool) or not isinstance(content, int | float | str):
        return None
    try:
        return float(content)
    except (ValueError, OverflowError):
        return None


def worst(numbers: list[float]) -> float | None:
    """Return the largest of `numbers`, NaN being larger than anything."""
    return max(numbers, key=lambda each: (math.isnan(each), 0.0 if math.isnan(each) else each), default=None)


def short(content: float | None) -> str:
    """Return a margin in two significant digits, or nothing; what is below the limit is never rounded up to it."""
    if content is None:
        return ""
    if not 0 < abs(content) < math.inf:
        return f"{content:g}"
    if 0.99 < content < 1:
        return ">0.99"
    return f"{content:.2g}" if abs(content) < 100 else f"{content:.3g}"


def duration(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None or not 0 <= seconds < math.inf:
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def link(content: Any) -> str | None:
    """Return `content` if it is a web address that may be followed, else None: `javascript:` and its like are text."""
    if not isinstance(content, str) or not _URL.fullmatch(content) or visible(content) != content:
        return None
    try:
        return content if urlsplit(content).hostname else None
    except ValueError:
        return None


def anchor(prefix: str, *names: str) -> str:
    """Return an id for a place on the page that follows from content alone and needs no escaping."""
    name = "~".join(names)
    if all(_PLAIN.fullmatch(each) for each in names):
        return f"{prefix}~{name}"
    return f"{prefix}~~{_digest(repr(names))}"


def _digest(whole: str) -> str:
    # A lone surrogate can be in a results file, but not in UTF-8.
    return hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def address(name: str) -> str:
    """Return what a thing is called in the page's address: its own name where that can stand there, else a digest."""
    return name if _ADDRESS.fullmatch(name) else f"~{_digest(name)}"


def place(view: str, **state: object) -> str:
    """Return the address on this page of a view in a state, as the page's own script writes it."""
    said = "&".join(
        f"{key}={quote(str(each), safe=_UNQUOTED)}" for key, each in state.items() if each not in ("", None)
    )
    return f"#/{view}" + (f"?{said}" if said else "")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key under which `32x28` sorts before `784`, and text of any kind sorts at all."""
    parts = _DIGITS.split(text)
    return tuple((0, int(each), "") if index % 2 else (1, 0, each) for index, each in enumerate(parts))
