"""
The process that holds one adapter: it says hello, answers questions, and ends.

`conformance.sandbox.launch` starts it in a fresh interpreter. From one question to the next it keeps only the adapter.
It writes only messages to its pipe: what a framework prints goes to standard output and error, which are a file.
"""

from __future__ import annotations

import ctypes
import dataclasses
import difflib
import importlib
import inspect
import os
import resource
import signal
import sys
import traceback
from typing import Final, TypedDict

from conformance.adapters.protocol import Adapter
from conformance.sandbox.codec import decode_question, encode_reply
from conformance.sandbox.execution import hello_of, perform, raised_reply
from conformance.sandbox.frame import Inbox
from conformance.sandbox.steps import GREETING, Answer, Reply

_PR_SET_PDEATHSIG = 1


class Orders(TypedDict):
    """What a child is given on its command line."""

    #: The folder that `conformance` itself is imported from.
    root: str
    #: What becomes `sys.path`.
    path: list[str]
    #: The adapter, `module:Class`, and its mode.
    adapter: str
    mode: str | None
    threads: int
    #: Descriptors of the child's ends of the pipes.
    requests: int
    replies: int
    #: The id of the process that started the child.
    parent: int
    #: Whether the thread that started the child lives as long as the parent does.
    tied: bool


def main(orders: Orders) -> None:
    """Serve until the pipe of requests ends; does not return."""
    end_with_parent(orders["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the suite, which ends this process in its own way
    _leave_no_core_file()
    for descriptor in (orders["requests"], orders["replies"]):
        os.set_inheritable(descriptor, False)  # a process started by the framework must not keep the pipes open
    replies = orders["replies"]
    try:
        adapter = load(orders["adapter"], orders["mode"])
        greeting = _greeting(hello_of(adapter, orders["threads"]))
    except (Exception, SystemExit) as error:  # a script ends where it is imported
        found = raised_reply(error)
        _send(replies, _greeting(dataclasses.replace(found, message=f"{found.message}{_place(error)}")))
        _end(1)
    if not orders["tied"]:
        _set_death_signal(0)
    _send(replies, greeting)
    _serve(adapter, orders["requests"], replies)
    _end(0)


def load(path: str, mode: str | None) -> Adapter:
    """
    Return the adapter that `module:Class` names: `Class()`, or `Class(mode=mode)`; raises whatever that raises.

    Raises:
        AttributeError: the module has nothing of that name.
        TypeError: what it names needs other arguments, or makes an object without an adapter's methods.
    """
    module_name, _, attribute = path.partition(":")
    module = importlib.import_module(module_name)
    try:
        kind = getattr(module, attribute)
    except AttributeError:
        near = difflib.get_close_matches(attribute, vars(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"the module {module_name} has no {attribute!r}{hint}") from None
    hint = (
        "an adapter is a class, called without arguments, with the methods of conformance.adapters.protocol.Adapter; "
        f"a function (x, kernel, bias) -> y is named {path}@numpy, @torch, @jax or @tensorflow"
    )
    given = {} if mode is None else {"mode": mode}
    if not callable(kind):
        raise TypeError(f"{path} is no adapter: {hint}")
    try:
        inspect.signature(kind).bind(**given)
    except TypeError as error:
        raise TypeError(f"{path} is no adapter, {error}: {hint}") from None
    except ValueError:
        pass  # native code says nothing of its arguments
    adapter: Adapter = kind(**given)
    missing = [each for each in _METHODS if not callable(getattr(adapter, each, None))]
    if missing:
        raise TypeError(f"{path} is no adapter, it has no method {' or '.join(missing)}: {hint}")
    return adapter


#: What the protocol `Adapter` asks for.
_METHODS: Final = ("versions", "settings", "devices", "build")


def end_with_parent(parent: int) -> None:
    """
    Have the kernel kill this process when the thread that started it ends; where it cannot, do nothing.

    This covers the time until the parent has put a guard in place (`conformance.sandbox.process_group`).
    """
    if sys.platform == "linux":
        _set_death_signal(signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(1)


def _set_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _leave_no_core_file() -> None:
    """
    Crashes are what this process is for; a core file of gigabytes for each would fill the disk.

    A limit of 1 byte, rather than none, also keeps Linux from piping the core to a crash reporter.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))


def _send(replies: int, frame: bytes) -> None:
    """Put a frame into the pipe: an answer that is there stays there whatever becomes of this process."""
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(replies, rest) :]


def _serve(adapter: Adapter, requests: int, replies: int) -> None:
    """Answer question after question, each step as it ends, until there are no more."""
    inbox = Inbox(requests)
    while True:
        while (frame := inbox.take()) is None:
            if not inbox.fill():
                return
        for reply in perform(adapter, decode_question(frame)):
            _send(replies, encode_reply(reply))


def _greeting(answer: Answer) -> bytes:
    return encode_reply(Reply(label=GREETING, answer=answer, seconds=0.0))


def _place(error: BaseException) -> str:
    """Return where the adapter's own module raised, as ` (file:line)`; nothing where the suite itself did."""
    suite = ("__main__", "conformance", "importlib", "_frozen_importlib")
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in suite:
            return f" ({frame.f_code.co_filename}:{line})"
    return ""


def _end(status: int) -> None:
    """End without the framework's clean-up: it is no part of a question, and it has been seen to crash and to hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
