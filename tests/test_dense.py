"""The suite itself: every case on every implementation, one test per cell."""

from conformance.run.runner import test_dense

__all__ = ["test_dense"]
