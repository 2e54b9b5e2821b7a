"""
The process of one adapter: it sends a greeting, answers questions, and ends.

`conformance.sandbox.launch` starts it in a fresh interpreter. Between questions it keeps only the adapter. Its pipe
carries only messages. Output of a framework goes to standard output and error, which are a file.
"""

from __future__ import annotations

import ctypes
import dataclasses
import difflib
import gc
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


class ChildOptions(TypedDict):
    """The options on the command line of a child."""

    #: The folder that `conformance` itself is imported from.
    root: str
    #: The new `sys.path`.
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
    #: Whether the main thread of the parent started the child; other threads may end before the parent.
    tied: bool


def main(options: ChildOptions) -> None:
    """Serve until the pipe of requests ends; does not return."""
    end_with_parent(options["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the suite, which ends this process
    _leave_no_core_file()
    for descriptor in (options["requests"], options["replies"]):
        os.set_inheritable(descriptor, False)  # a process of the framework must not keep the pipes open
    replies = options["replies"]
    try:
        adapter = load(options["adapter"], options["mode"])
        greeting = _greeting(hello_of(adapter, options["threads"]))
    except (Exception, SystemExit) as error:  # the import of a script may call sys.exit
        raised = raised_reply(error)
        _send(replies, _greeting(dataclasses.replace(raised, message=f"{raised.message}{_place(error)}")))
        _end(1)
    if not options["tied"]:
        _set_death_signal(0)
    # What a framework imports lives to the end. Collections would walk it again and again: a fifth of the CPU time that
    # an import of TensorFlow takes.
    gc.freeze()
    gc.enable()
    _send(replies, greeting)
    _serve(adapter, options["requests"], replies)
    _end(0)


def load(path: str, mode: str | None) -> Adapter:
    """
    Return the adapter of `module:Class`: `Class()`, or `Class(mode=mode)`. Exceptions of the class pass through.

    Raises:
        AttributeError: the module has no such attribute.
        TypeError: the class needs other arguments, or its object does not have the methods of an adapter.
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
    arguments = {} if mode is None else {"mode": mode}
    if not callable(kind):
        raise TypeError(f"{path} is no adapter: {hint}")
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        raise TypeError(f"{path} is no adapter, {error}: {hint}") from None
    except ValueError:
        pass  # native code has no signature
    adapter: Adapter = kind(**arguments)
    missing = [each for each in _METHODS if not callable(getattr(adapter, each, None))]
    if missing:
        raise TypeError(f"{path} is no adapter, it has no method {' or '.join(missing)}: {hint}")
    return adapter


#: The methods of the protocol `Adapter`.
_METHODS: Final = ("versions", "settings", "devices", "build")


def end_with_parent(parent: int) -> None:
    """
    Let the kernel kill this process when the thread that started it ends. Only Linux can do that.

    This covers the time until the parent has started the guard (`conformance.sandbox.process_group`).
    """
    if sys.platform == "linux":
        _set_death_signal(signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(1)


def _set_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _leave_no_core_file() -> None:
    """
    Disable core files: this process may crash often, and each core file has gigabytes.

    A limit of 1 byte, instead of 0, also keeps Linux from piping the core to a crash reporter.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))


def _send(replies: int, frame: bytes) -> None:
    """Write a frame to the pipe, where it stays even if this process ends."""
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(replies, rest) :]


def _serve(adapter: Adapter, requests: int, replies: int) -> None:
    """Answer each question, step by step, until the pipe ends."""
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
    """Return the place in the adapter's module that raised, as ` (file:line)`; empty if the suite raised."""
    suite = ("__main__", "conformance", "importlib", "_frozen_importlib")
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in suite:
            return f" ({frame.f_code.co_filename}:{line})"
    return ""


def _end(status: int) -> None:
    """End without the framework's clean-up, which is no part of a question and may crash or hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
