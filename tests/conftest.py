"""What the suite's own tests need of the process they run in, and the marker that each folder gives its tests."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

#: Folders whose tests have the folder's name as a marker.
FOLDERS = ("unit", "adapters", "integration", "browser", "power")

# Started in the background by a shell, tests ignore Ctrl-C, and so would all that they start to send it to.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by its folder."""
    for folder in item.path.relative_to(Path(__file__).parent).parts[:1]:
        if folder in FOLDERS:
            item.add_marker(folder)
