"""
Text of a results file, prepared for the page: made visible, cut, formatted, sorted, linked.

The text comes from elsewhere: a framework's message, the output of a crashed process, a table of another project. It
may be missing, long, unprintable or of the wrong type.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

#: The longest text of one value that is not the end of a log (characters).
LONGEST: Final = 4_000
#: The longest name that is shown whole (characters).
LONGEST_TITLE: Final = 300

# Characters that must not reach a page: controls but tab and newline (ANSI escapes begin with one), soft hyphen, bidi
# and zero-width marks, line separators, lone surrogates (which UTF-8 cannot write), noncharacters and tags. The ranges
# are written out, since unicodedata differs between versions of Python.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
# Names of these characters are used in an anchor as they are. The separator `~` is not one of them.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:-]{1,120}")
# Names of these characters are used in an address as they are. The names of columns have a slash.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
_UNQUOTED: Final = "~:./_-"
_DIGITS: Final = re.compile(r"([0-9]{1,18})")
_URL: Final = re.compile(r"https?://[^\s\\\"'<>`{}|^]+", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Return `text` with every character that hides or reorders others written out: `\x1b`, `[U+202E]`."""
    return _INVISIBLE.sub(_visible_form, text)


def _visible_form(match: re.Match[str]) -> str:
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


def value(content: object) -> str:
    """Return any JSON value as text: a string as it is, all else as JSON, cut where it is long."""
    if type(content) is str and len(content) <= LONGEST:
        return content
    return head(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str))


def title(content: object) -> str:
    """Return a name of any JSON type as text; a cut name ends with a digest, so that names stay distinct."""
    whole = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return whole if len(whole) <= LONGEST_TITLE else f"{whole[:280]}… [cut: {_digest(whole)}]"


def pairs(content: object) -> list[tuple[str, str]]:
    """Return a mapping's entries as text, in its own order; anything but a mapping is one entry without a name."""
    if isinstance(content, Mapping):
        return [(head(str(key), 200), value(each)) for key, each in content.items()]
    return [] if content is None else [("", value(content))]


def number(content: object) -> float | None:
    """Return a number of a results file, where it may be a string such as `inf`; None for anything else."""
    if type(content) is float:
        return content
    if isinstance(content, bool) or not isinstance(content, int | float | str):
        return None
    try:
        return float(content)
    except (ValueError, OverflowError):
        return None


def worst(numbers: list[float]) -> float | None:
    """Return the largest of `numbers`, None if there are none. NaN counts as the largest."""
    return max(numbers, key=lambda each: (math.isnan(each), 0.0 if math.isnan(each) else each), default=None)


def short(content: float | None) -> str:
    """Return a margin with two significant digits. A margin below 1 is never rounded up to 1."""
    if content is None:
        return ""
    if not 0 < abs(content) < math.inf:
        return f"{content:g}"
    if 0.99 < content < 1:
        return ">0.99"
    return f"{content:.2g}" if abs(content) < 100 else f"{content:.3g}"


def duration(seconds: float | None) -> str:
    """Return a time with its unit, as `250 ms`, `1.5 s` or `2 h 5 min`."""
    if seconds is None or not 0 <= seconds < math.inf:
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def link(content: object) -> str | None:
    """Return `content` if it is an http or https address that is safe to follow, else None."""
    if not isinstance(content, str) or not _URL.fullmatch(content) or visible(content) != content:
        return None
    try:
        return content if urlsplit(content).hostname else None
    except ValueError:
        return None


def anchor(prefix: str, *names: str) -> str:
    """Return an id for an element of the page, made from names. It needs no escaping."""
    name = "~".join(names)
    if all(_PLAIN.fullmatch(each) for each in names):
        return f"{prefix}~{name}"
    return f"{prefix}~~{_digest(repr(names))}"


def _digest(whole: str) -> str:
    # A lone surrogate can be in a results file, but not in UTF-8.
    return hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def address(name: str) -> str:
    """Return a name as it is used in an address: unchanged if its characters allow that, else a digest."""
    return name if _ADDRESS.fullmatch(name) else f"~{_digest(name)}"


def place(view: str, **state: object) -> str:
    """Return the address of a view with its state, in the form of the page's script."""
    query = "&".join(
        f"{key}={quote(str(each), safe=_UNQUOTED)}" for key, each in state.items() if each not in ("", None)
    )
    return f"#/{view}" + (f"?{query}" if query else "")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that compares digits as numbers: `32x28` sorts before `784`."""
    parts = _DIGITS.split(text)
    return tuple((0, int(each), "") if index % 2 else (1, 0, each) for index, each in enumerate(parts))
