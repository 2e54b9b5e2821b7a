"""Exceptions that are hard to report, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

from conformance.adapters.protocol import Unsupported
from tests.support.hostile_answers import Misdeed, Raising, Text


class _NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text of me")


class _OtherTextError(Exception):
    def __str__(self) -> str:
        return 4  # type: ignore[return-value]


class _LyingMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name of me")


class _NamelessError(Exception, metaclass=_LyingMeta):
    pass


def caused(count: int) -> Exception:
    """Return an error with a long chain of causes."""
    last = ValueError("the last")
    for _ in range(count):
        error = ValueError("one more")
        error.__cause__, last = last, error
    return last


def in_a_circle() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def grouped() -> Exception:
    """Return groups of errors in one another, deeper than a stack."""
    error: Exception = ValueError("inside")
    for _ in range(2000):
        error = ExceptionGroup("group", [error])
    return error


def spelled() -> Exception:
    error = SyntaxError("wrong")
    error.text, error.lineno, error.filename, error.offset = "\ud800" * 10**5, 10**9, "\x1b", -(10**9)
    return error


def descend(right: object) -> object:
    return descend(right)


def raising(make: Callable[[], BaseException]) -> Misdeed:
    """Return what raises in place of an answer."""

    def raises(right: object) -> NoReturn:
        raise make()

    return raises


RAISED: Final[dict[str, Misdeed]] = {
    "half a surrogate pair": raising(lambda: ValueError("\ud800\x00\x1b[31m")),
    "a long message": raising(lambda: ValueError("long " * 10**6)),
    "no text": raising(_NoTextError),
    "another thing than text": raising(_OtherTextError),
    "text of a class of its own": raising(lambda: ValueError(Text("\ud800 own"))),
    "no name": raising(_NamelessError),
    "many causes": raising(lambda: caused(5000)),
    "causes in a circle": raising(in_a_circle),
    "groups": raising(grouped),
    "syntax": raising(spelled),
    "recursion": descend,
    "memory": raising(lambda: MemoryError("\ud800")),
    "stop": raising(StopIteration),
    "declined without leave": raising(lambda: Unsupported("\ud800 not " + "so " * 10**6)),
    "notes": raising(lambda: _with_note(ValueError("noted"))),
}


def _with_note(error: Exception) -> Exception:
    error.__notes__ = cast(Any, [Raising(), "\ud800"])
    return error
