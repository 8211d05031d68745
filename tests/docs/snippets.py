"""The code blocks of the documentation, and what is to be done with each.

A block is told by its language:

* ``python``: a complete program. It must end by itself, with exit status 0.
* ``console``: lines that begin with ``$ `` are commands; what else there is shows their output and
  is not compared. Commands that begin with a name in `COMMANDS` must end with status 0; others
  (``make``, ``pip``) are only shown.
* any other language: shown only, but see ``file``.

An HTML comment on the line above a block says more:

* ``<!-- until: 3 lines -->``: a program without end. When it has printed so many lines it gets what
  Ctrl-C sends, and any exit status is right.
* ``<!-- no root -->``: it works without privilege and without BPF.
* ``<!-- file: NAME -->``: the block is a file, there for all later blocks of the page.
* ``<!-- not run: REASON -->``: it can't be run here; Python must still compile.

The blocks of a page share one folder, and run in their order. In it are the compiled objects of
examples and tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ("bpfstream", "clang", "llvm-strip", "python")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<directive>.+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A block of a page.

    Attributes:
        page: The page's file.
        line: Where it begins.
        language: What follows the opening fence.
        text: What stands between the fences.
        directive: The comment above it, or empty.
    """

    page: Path
    line: int
    language: str
    text: str
    directive: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def needs_root(self) -> bool:
        return self.directive != "no root"

    @property
    def file_name(self) -> str | None:
        return self._argument("file")

    @property
    def reason_not_to_run(self) -> str | None:
        return self._argument("not run")

    @property
    def lines_until_end(self) -> int | None:
        """Lines of output after which it is interrupted; None: it ends by itself."""
        lines = self._argument("until")
        return None if lines is None else int(lines.removesuffix(" lines"))

    @property
    def commands(self) -> list[str]:
        """The commands of a console block that are to be run."""
        lines = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [line for line in lines if line.split()[0] in COMMANDS]

    def _argument(self, name: str) -> str | None:
        key, _, argument = self.directive.partition(": ")
        return argument if key == name else None


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(
            page=page,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            text=match["text"],
            directive=match["directive"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]
