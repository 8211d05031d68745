"""Command-line options of the form NAME=VALUE, put into an object before it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from bpfstream.spec import ObjectSpec

T = TypeVar("T")

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def set_variables(spec: ObjectSpec, assignments: Iterable[str]) -> None:
    """Give variables their values: ``min_us=500``, ``comm=bash``, ``ports=[22, 80]``."""
    for assignment in assignments:
        name, text = split(assignment, "--set")
        variable = lookup(spec.variables, name, "variable")
        variable.value = parse_value(name, text, variable.value)


def resize_maps(spec: ObjectSpec, assignments: Iterable[str]) -> None:
    """Give maps their sizes: ``events=1M``."""
    for assignment in assignments:
        name, text = split(assignment, "--resize")
        lookup(spec.maps, name, "map").max_entries = parse_size(name, text)


def split(assignment: str, option: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = assignment.partition("=")
    if not name or not equals:
        raise click.ClickException(f"{option} takes NAME=VALUE, not {assignment!r}")
    return name, value


def lookup(things: Mapping[str, T], name: str, kind: str) -> T:
    """The object's thing of that name; where there is none, an error that says what there is."""
    if name in things:
        return things[name]
    there = get_close_matches(name, things, n=3) or sorted(things)[:10]
    known = f"there is {', '.join(there)}" if there else f"it has no {kind}s"
    raise click.ClickException(f"the object has no {kind} {name!r}; {known}")


def parse_value(name: str, text: str, current: Any) -> Any:
    """Text as a value of the kind that the variable has now."""
    match current:
        case str():
            return text
        case bool():
            truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            if text.lower() in truth:
                return truth[text.lower()]
            raise click.ClickException(f"{name} is true or false, not {text!r}")
        case int():
            if text.isidentifier():
                return text  # an enumerator's name, perhaps: its type decides
            try:
                return int(text, 0)
            except ValueError:
                raise click.ClickException(f"{name} is a whole number, not {text!r}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{name} takes JSON such as [1, 2]: {error}") from None


def parse_size(name: str, text: str) -> int:
    """A number of entries or bytes, perhaps with a unit: ``4096``, ``256K``, ``1M``."""
    unit = text[-1:].upper()
    digits = text[:-1] if unit in _UNITS else text
    try:
        size = int(digits, 0) * _UNITS.get(unit, 1)
    except ValueError:
        size = -1
    if not 0 <= size < 1 << 32:
        raise click.ClickException(f"the size of {name} is a number such as 4096 or 1M: {text!r}")
    return size
