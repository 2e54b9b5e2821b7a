"""
A script that prints what it sees of its process on both streams, and ends at the end of the interpreter.

The first word is `exits` or `is killed`, the second the id of a process whose group this one should be in.
"""

import atexit
import gc
import json
import os
import signal
import sys
from pathlib import Path


def end() -> None:
    print("the end of the interpreter", file=sys.stderr, flush=True)
    if sys.argv[1] == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)


atexit.register(end)
print(json.dumps([sys.argv, __name__, sys.path, str(Path.cwd()), dict(os.environ)]))
print(json.dumps([sys.stdin.read(), os.isatty(1), sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering]))
print(signal.getsignal(signal.SIGINT), os.getpgrp() == os.getpgid(int(sys.argv[2])), gc.isenabled(), gc.get_threshold())
sys.stdout.flush()
sys.stdout.buffer.write(b"\xff\n")
sys.stdout.flush()
sys.exit(7)
