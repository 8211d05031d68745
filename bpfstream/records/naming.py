"""Python names for what C programs call anything they like."""

import keyword
import re
from collections.abc import Collection

_NOT_WORD = re.compile(r"\W")


def python_name(c_name: str, taken: Collection[str] = ()) -> str:
    """An identifier for a C name that is none of `taken`.

    What C (or Rust) allows and Python reserves gets a trailing underscore: ``class_``. Of several
    leading underscores one stays, since Python mangles such names. Characters that no identifier
    has become underscores.
    """
    name = c_name if c_name.isidentifier() else _NOT_WORD.sub("_", c_name)
    if name.startswith("__") or not name.isidentifier():
        name = f"_{name.lstrip('_')}"
    while keyword.iskeyword(name) or name in taken:
        name += "_"
    return name
