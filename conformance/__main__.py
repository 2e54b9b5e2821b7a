"""`python -m conformance` is the command `conformance`."""

from conformance.commands.cli import main

main(prog_name="conformance")
