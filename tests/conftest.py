"""What the suite's own tests need of the process they run in."""

from __future__ import annotations

import signal
import threading

# Started in the background by a shell, tests ignore Ctrl-C, and so would all that they start to send it to.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
