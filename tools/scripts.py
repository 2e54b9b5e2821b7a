"""
Runs scripts one after the other in one process, each as if it were alone, and prints what each showed as JSON lines.

Frameworks take seconds to start: scripts that set the same environment share a process. A script that ends its process
ends this one, after which there is no line for it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path


def shown(path: Path) -> dict[str, str]:
    """Return what a script printed, and the exception it ended with, as `Type: message`, empty where it ended well."""
    printed, raised = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})
        except Exception as error:  # whatever a framework raises is what is to be shown
            raised = "".join(traceback.format_exception_only(error)).strip()
    return {"script": path.name, "printed": printed.getvalue(), "raised": raised}


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(json.dumps(shown(Path(each))), flush=True)
        if (compiler := sys.modules.get("torch._dynamo")) is not None:
            compiler.reset()  # its limit of compilations is one of a process
