"""How to install what an implementation lacks: the extras of this distribution that bring a package."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from typing import Final

from packaging.requirements import Requirement

_DISTRIBUTION: Final = "dense-conformance"
#: Packages whose distribution is not called as they are imported.
_DISTRIBUTIONS: Final = {"haiku": "dm-haiku"}


def missing_text(missing: Iterable[str]) -> str:
    """Return missing packages and programs in a line, with the command that installs them where an extra has them."""
    names = tuple(missing)
    extras = dict.fromkeys(_extras()[each] for each in map(_distribution, names) if each in _extras())
    command = f" (pip install '{_DISTRIBUTION}[{','.join(extras)}]')" if extras else ""
    return f"{', '.join(names)}{command}"


def _distribution(package: str) -> str:
    """Return the distribution of a package, its name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", _DISTRIBUTIONS.get(package, package)).lower()


@functools.cache
def _extras() -> Mapping[str, str]:
    """Return for each distribution that extras bring the smallest such extra: `all` has what others have."""
    try:
        required = importlib.metadata.requires(_DISTRIBUTION) or ()
    except importlib.metadata.PackageNotFoundError:  # a source tree that is not installed
        return {}
    brought: dict[str, list[str]] = {}
    for each in map(Requirement, required):
        extra = None if each.marker is None else re.search(r'extra == ["\']([\w-]+)["\']', str(each.marker))
        if extra is not None:
            brought.setdefault(extra.group(1), []).append(_distribution(each.name))
    largest_first = sorted(brought, key=lambda extra: len(brought[extra]), reverse=True)
    return {distribution: extra for extra in largest_first for distribution in brought[extra]}
