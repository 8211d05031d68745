"""Which types of the target may stand for a type of the object.

Those of the same kind that bear the same name, flavours (``task_struct___old``) aside. The kernel
itself comes first; its modules are looked at only when the kernel has no such type (libbpf.c:
bpf_core_find_cands).
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.btf import Btf, essential_name
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker.target import Target

_ENUMS = (Kind.ENUM, Kind.ENUM64)


class Candidate(msgspec.Struct, frozen=True):
    """A type of the target.

    Attributes:
        btf: The BTF that has it.
        type: Its id there.
        origin: What that BTF describes, in words: ``kernel BTF`` or ``BTF of module nf_tables``.
    """

    btf: Btf
    type: int
    origin: str

    def __str__(self) -> str:
        return f"{self.btf.describe(self.type)} ({self.origin}, type {self.type})"


class Candidates:
    """The candidates of every type that the relocations of one object name.

    Every relocation that some candidates match rules out the others for the relocations that come
    after it and name the same type: fields of a struct are read from one and the same struct.
    """

    def __init__(self, local: Btf, target: Target) -> None:
        self._local = local
        self._target = target
        self._found: dict[int, list[Candidate]] = {}

    def of(self, type_id: int) -> list[Candidate]:
        """The remaining candidates for a type of the object.

        Raises:
            LinkingError: The type has no name.
            MissingBtfError: The target has no BTF.
        """
        if type_id not in self._found:
            self._found[type_id] = self._find(type_id)
        return self._found[type_id]

    def keep(self, type_id: int, matching: list[Candidate]) -> None:
        """Leave only `matching` for later relocations that name this type."""
        self._found[type_id] = matching

    @property
    def origin(self) -> str:
        """Where the candidates are looked for, in words."""
        return "kernel BTF" if self._target.relocation_btf is None else "given BTF"

    def _find(self, type_id: int) -> list[Candidate]:
        name = essential_name(self._local.name(type_id))
        if not name:
            raise LinkingError(
                f"{self._local.describe(type_id)} has no name by which the target could know it"
            )
        kind = self._local.kind(type_id)
        kinds = _ENUMS if kind in _ENUMS else (kind,)
        btf = self._target.relocation_btf or self._target.btf
        if btf is None:
            raise MissingBtfError(
                f"relocating {self._local.describe(type_id)} needs the kernel's BTF",
                searched=self._target.searched,
                hint="build the kernel with CONFIG_DEBUG_INFO_BTF=y or give a BTF file",
            )
        found = [Candidate(btf, other, self.origin) for other in btf.candidates(name, kinds)]
        if found or self._target.relocation_btf is not None:
            return found
        return [
            Candidate(module.btf, other, f"BTF of module {module.name}")
            for module in self._target.modules()
            for other in module.btf.candidates(name, kinds)
        ]
