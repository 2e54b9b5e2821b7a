"""`conformance nightly`: a run by night, what is published of it, and the issues it opens."""
