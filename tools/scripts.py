"""
Runs scripts one after the other in one process, and prints the result of each as a line of JSON.

Scripts that set the same environment share a process, since frameworks take seconds to start. A script that ends its
process ends this one too, and has no line.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path


def result_of(path: Path) -> dict[str, str]:
    """Return the output of a script, and its exception as `Type: message` (empty if it raised none)."""
    printed, raised = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})
        except Exception as error:  # The exception of the framework is the result.
            raised = "".join(traceback.format_exception_only(error)).strip()
    return {"script": path.name, "printed": printed.getvalue(), "raised": raised}


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(json.dumps(result_of(Path(each))), flush=True)
        if (compiler := sys.modules.get("torch._dynamo")) is not None:
            compiler.reset()  # torch limits the number of compilations of a process.
