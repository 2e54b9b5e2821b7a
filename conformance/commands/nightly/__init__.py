"""`conformance nightly`: runs a night, publishes it, and opens issues for what got worse."""
