"""
The implementations there are, found by name and readable without importing any of them.

Others add theirs to the built-in ones through the entry-point group `conformance.adapters` (an entry point names an
`Implementation` or a sequence of them), or name one on the command line: as `module:Class`, or as `module:function`
where a plain function of `(x, kernel, bias)` is to be held, with `@torch`, `@jax` or `@tensorflow` after it where it
takes other arrays than NumPy's.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from conformance.adapters.built_in import BUILT_IN, FRAMEWORKS, of_function
from conformance.adapters.implementation import Implementation

__all__ = ["BUILT_IN", "Implementation", "UnknownImplementation", "registered", "select"]

ENTRY_POINTS: Final = "conformance.adapters"


class UnknownImplementation(LookupError):
    """A name that is neither in the registry nor of the form `module:Class` or `module:function@framework`."""


def registered() -> Mapping[str, Implementation]:
    """Return every implementation by name: the built-in ones, then those of installed entry points."""
    found = {each.name: each for each in BUILT_IN}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        loaded = point.load()
        for each in [loaded] if isinstance(loaded, Implementation) else loaded:
            found.setdefault(each.name, each)
    return found


def select(names: Iterable[str]) -> Sequence[Implementation]:
    """
    Return the implementations asked for, in the order asked for; a name may be a glob over the registry.

    Raises:
        UnknownImplementation: a name is not registered, matches nothing, and is not of the form `module:Class` or
            `module:function@framework`.
    """
    known = registered()
    chosen: dict[str, Implementation] = {}
    for name in names:
        matches = [known[name]] if name in known else [known[each] for each in fnmatch.filter(known, name)]
        if not matches:
            matches = [_from_path(name, known)]
        chosen.update((each.name, each) for each in matches)
    return tuple(chosen.values())


def _from_path(name: str, known: Mapping[str, Implementation]) -> Implementation:
    """Return the implementation that `module:Class` or `module:function@framework` names."""
    path, at, framework = name.partition("@")
    module, _, attribute = path.partition(":")
    adapters = {each.partition(":")[0] for each in known}
    if not (attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))) or module in adapters:
        near = get_close_matches(name, known, n=1)
        hint = (
            f"; did you mean {near[0]!r}?"
            if near
            else f"; there are {', '.join(sorted(known))}, or name a module:Class or module:function"
        )
        raise UnknownImplementation(f"no implementation is named {name!r}{hint}")
    if at and framework not in FRAMEWORKS:
        raise UnknownImplementation(f"{name!r}: a function is one of {', '.join(FRAMEWORKS)}, not of {framework!r}")
    if at or _is_function(module, attribute):
        return of_function(path, framework or "numpy", name=name)
    return Implementation(name=name, adapter=name, packages=(module.partition(".")[0],))


def _is_function(module: str, attribute: str) -> bool:
    """
    Return whether the source of a module defines a function that can be called with x, kernel and bias.

    A class, and a function without required arguments, make an adapter. The module is read and not imported, since it
    may import a framework; what it only imports from elsewhere, or builds, has to be named with its framework.
    """
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for end in range(1, len(parts)):
        spec = spec and PathFinder.find_spec(".".join(parts[: end + 1]), spec.submodule_search_locations)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    try:
        source = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError):
        return False  # the process that imports it will say so
    for each in source.body:
        if isinstance(each, ast.FunctionDef) and each.name == attribute:
            positional = len(each.args.posonlyargs) + len(each.args.args)
            required = positional - len(each.args.defaults)
            return 0 < required <= 3 <= positional
    return False
