"""
The implementations there are, found by name and readable without importing any of them.

Others add theirs to the built-in ones through the entry-point group `conformance.adapters` (an entry point names an
`Implementation` or a sequence of them), or name one on the command line: as `module:Class`, or as `module:function` for
a plain function of `(x, kernel, bias)`. `@torch`, `@jax` or `@tensorflow` after it says that it takes their arrays and
not NumPy's.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from typing import Final

from conformance.adapters.builtin import BUILT_IN, FRAMEWORKS, of_function
from conformance.adapters.implementation import AxisLimit, Implementation, Participation

__all__ = [
    "BUILT_IN",
    "AxisLimit",
    "BrokenEntryPoint",
    "Implementation",
    "Participation",
    "RegistryError",
    "UnknownImplementation",
    "fault_of_glob",
    "registered",
    "select",
]

ENTRY_POINTS: Final = "conformance.adapters"
#: The most names that a hint lists.
_LISTED: Final = 6


class RegistryError(LookupError):
    """An implementation that cannot be had; the message is one line for a person."""


class UnknownImplementation(RegistryError):
    """A name that is neither in the registry nor of the form `module:Class` or `module:function@framework`."""


class BrokenEntryPoint(RegistryError):
    """An installed entry point that does not load, or offers something other than implementations."""


def registered() -> Mapping[str, Implementation]:
    """
    Return every implementation by name: the built-in ones, then those of installed entry points.

    Raises:
        BrokenEntryPoint: an entry point does not load, or offers something else.
    """
    found = {each.name: each for each in BUILT_IN}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        for each in _offered(point):
            found.setdefault(each.name, each)
    return found


def _offered(point: importlib.metadata.EntryPoint) -> Sequence[Implementation]:
    where = f"the entry point {point.name} = {point.value} of {point.dist.name if point.dist else 'a distribution'}"
    try:
        loaded = point.load()
    except Exception as error:  # whatever a stranger's module raises
        raise BrokenEntryPoint(
            f"{where} does not load: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    offered = [loaded] if isinstance(loaded, Implementation) else loaded
    if not isinstance(offered, Sequence) or not all(isinstance(each, Implementation) for each in offered):
        raise BrokenEntryPoint(f"{where} is {type(loaded).__name__}: it must be an Implementation, or a list of them")
    return offered


def select(names: Iterable[str]) -> Sequence[Implementation]:
    """
    Return the implementations of these names, in their order; a name may be a glob over the registry.

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
    if not attribute.isidentifier() or not _is_module(module, known):
        raise UnknownImplementation(f"no implementation is named {name!r}; {_hint(name, known, option='-i ')}")
    if at and framework not in FRAMEWORKS:
        raise UnknownImplementation(f"{name!r}: a function is one of {', '.join(FRAMEWORKS)}, not of {framework!r}")
    if at or _is_function(module, attribute):
        return of_function(path, framework or "numpy", name=name)
    return Implementation(name=name, adapter=name, packages=(module.partition(".")[0],))


def fault_of_glob(glob: str, known: Mapping[str, Implementation]) -> str | None:
    """Return what is wrong with a glob that matches no known name; None where it may match a `module:Name`."""
    path, _, framework = glob.partition("@")
    module, colon, _ = path.partition(":")
    plain = re.sub(r"[*?]|\[[^]]*\]", "x", module)
    may_be_path = framework in FRAMEWORKS or (colon and _is_module(plain, known))
    if may_be_path or any(fnmatch.fnmatchcase(name, glob) for name in known):
        return None
    return f"no implementation is named {glob!r}; {_hint(glob, known)}"


def _is_module(name: str, known: Mapping[str, Implementation]) -> bool:
    """Return whether what stands before a colon may be a module: not where implementations with modes are called so."""
    return all(part.isidentifier() for part in name.split(".")) and name not in {
        each.partition(":")[0] for each in known
    }


def _hint(name: str, known: Mapping[str, Implementation], option: str = "") -> str:
    """Return the names that may be meant: those that begin with `name` and a dash, contain it, or are spelt alike."""
    plain = [each for each in known if ":" not in each]
    family = [each for each in plain if each.startswith(f"{name}-")]
    holding = [each for each in plain if name in each] or [each for each in known if name in each]
    glob, meant = (f"{name}-*", family) if len(family) > 1 else (f"*{name}*", holding)
    if name and len(meant) > 1:
        more = f" and {len(meant) - _LISTED} more" if len(meant) > _LISTED else ""
        return f"did you mean {', '.join(meant[:_LISTED])}{more}; all of them: {option}'{glob}'"
    if near := meant if name and meant else get_close_matches(name, known, n=1):
        return f"did you mean {near[0]!r}?"
    usual = ", ".join(
        each.name for each in known.values() if each.participation.tier == "full" and ":" not in each.name
    )
    return f"there are {usual} and others (conformance list implementations), or name a module:Class or module:function"


def _source_of(module: str) -> Path | None:
    """Return the file of a module, found without importing the packages around it; None where there is no source."""
    first, *parts = module.split(".")
    spec = importlib.util.find_spec(first)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for part in parts:
        found = [FileFinder(each, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(part) for each in folders]
        there = [each for each in found if each is not None]
        spec = next((each for each in there if each.loader is not None), None)
        # Without an `__init__.py` a package is all the folders of its name, wherever they lie.
        folders = [place for each in ([spec] if spec else there) for place in each.submodule_search_locations or ()]
    return Path(spec.origin) if spec is not None and spec.origin is not None and spec.origin.endswith(".py") else None


def _is_function(module: str, attribute: str) -> bool:
    """
    Return whether the source of a module defines a function that can be called with x, kernel and bias.

    A class, and a function without required arguments, make an adapter. The module is read and not imported, since it
    may import a framework; what it only imports from elsewhere, or builds, has to be named with its framework.
    """
    file = _source_of(module)
    if file is None:
        return False
    try:
        source = ast.parse(file.read_bytes())
    except (OSError, SyntaxError):
        return False  # the process that imports it will say so
    for each in source.body:
        if isinstance(each, ast.FunctionDef) and each.name == attribute:
            positional = len(each.args.posonlyargs) + len(each.args.args)
            required = positional - len(each.args.defaults)
            return 0 < required <= 3 <= positional
    return False
