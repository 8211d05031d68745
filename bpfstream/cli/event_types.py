"""What ``--type`` names: a struct of the object, or a class of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import click
import msgspec

EventType = str | type[bytes] | type[msgspec.Struct]
"""The name of a struct, `bytes` for no type, or a class."""


def event_type(name: str) -> EventType:
    """The type that a name stands for.

    Args:
        name: ``bytes``; a struct of the object's BTF such as ``event``; or a `msgspec.Struct` class
            as ``package.module:Class`` or ``path/file.py:Class``.
    """
    module_name, colon, class_name = name.rpartition(":")
    if name == "bytes":
        return bytes
    if not colon:
        return name.removeprefix("struct ")
    try:
        is_file = module_name.endswith(".py")
        module = (
            _import_file(Path(module_name)) if is_file else importlib.import_module(module_name)
        )
    except (ImportError, OSError) as error:
        raise click.ClickException(f"--type {name}: {error}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, msgspec.Struct):
        raise click.ClickException(f"--type {name}: no msgspec.Struct class {class_name!r} there")
    return found


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module; it stays known, since classes look up their annotations in it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
