"""
The names of checks and lanes, written to the places that cannot read where they are listed.

- `conformance/table/check_names.py` and `conformance/table/lane_names.py`: the names that a row may have. The table is
  below the checks and the lanes, and imports none.
- `cases/README.md`: a line for each check.

`make schema` runs this module. Tests check that the files are current.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from conformance.checks.catalogue import CHECKS
from conformance.checks.check import Check
from conformance.reference.lanes.draws import DRAWN_LANES
from conformance.table.case import Case, Layer

ROOT: Final = Path(__file__).resolve().parent.parent
NAMES: Final = ROOT / "conformance" / "table" / "check_names.py"
LANE_NAMES: Final = ROOT / "conformance" / "table" / "lane_names.py"
README: Final = ROOT / "cases" / "README.md"
BEGIN: Final = "<!-- checks, written by `make schema` -->"
END: Final = "<!-- /checks -->"
_WITHOUT_VALUES: Final = Case(input_shape=(4,), layers=(Layer(units=3),), lane="shapes")


def names_module(checks: Iterable[Check]) -> str:
    """Return the source of the module with the names of checks."""
    every = list(checks)
    of_shapes = [each for each in every if each.applies(_WITHOUT_VALUES)]
    return f'''"""The names of the checks. `make schema` writes this file from `conformance/checks/catalogue.py`."""

from __future__ import annotations

from typing import Final

#: Every check, in the order in which a cell reports them.
CHECKS: Final = (
{_lines(every)}
)
#: The checks of the lane `shapes`, for which nothing is computed.
SHAPE_CHECKS: Final = (
{_lines(of_shapes)}
)
'''


def lanes_module(drawn: Iterable[str]) -> str:
    """Return the source of the module with the names of lanes. Two lanes have no draws of their own."""
    return f'''"""The names of the lanes. `make schema` writes this file from `conformance/reference/lanes/draws.py`."""

from __future__ import annotations

from typing import Final

LANES: Final = (
{_quoted((*drawn, "literal", "shapes"))}
)
'''


def _lines(checks: Iterable[Check]) -> str:
    return _quoted(each.name for each in checks)


def _quoted(names: Iterable[str]) -> str:
    return "\n".join(f'    "{each}",' for each in names)


def readme(text: str, checks: Iterable[Check]) -> str:
    """Return a README with a line for each check between its marks."""
    lines = [BEGIN, "", "| check | what must be right |", "|---|---|"]
    lines += [f"| `{each.name}` | {each.description} |" for each in checks]
    table = "\n".join([*lines, "", END])
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: table, text, flags=re.DOTALL)


def main() -> None:
    """Write the files."""
    LANE_NAMES.write_text(lanes_module(DRAWN_LANES), encoding="utf-8")
    NAMES.write_text(names_module(CHECKS), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), CHECKS), encoding="utf-8")


if __name__ == "__main__":
    main()
