"""CO-RE: fitting instructions to the types of the target ("compile once, run everywhere").

The compiler leaves a record for every access to a type that may differ between kernels. For each
one: take the types of the target that may stand for the local one (`core_candidates`), find what
the access means in them (`core_match`), compute the value that the target needs (`core_values`),
put it into the instruction (`core_patch`).
"""

from __future__ import annotations

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.abi.instructions import SLOT_SIZE
from bpfstream.btf import Btf, essential_name
from bpfstream.btf.ext import CoreRelocation
from bpfstream.errors import AmbiguousRelocationError, BtfError, LinkingError, MissingBtfError
from bpfstream.linker.core_access import Access, parse_access
from bpfstream.linker.core_candidates import Candidate, Candidates
from bpfstream.linker.core_match import AccessFinder, Mismatch
from bpfstream.linker.core_patch import RELOCATION_POISON, Patch, apply, poison
from bpfstream.linker.core_values import (
    RelocationValue,
    absent_value,
    loads_alike,
    relocation_value,
)
from bpfstream.linker.functions import Function, FunctionTable
from bpfstream.linker.linked import PoisonedRelocation
from bpfstream.linker.target import Target
from bpfstream.spec import ObjectSpec


def relocate(spec: ObjectSpec, functions: FunctionTable, target: Target) -> None:
    """Fit the code of all `functions` to the target's types, in the order of the records.

    The order matters: see `Candidates`.

    Raises:
        AmbiguousRelocationError: Several types of the target match and disagree.
        LinkingError: A record is malformed, or its instruction is none that can be relocated.
        MissingBtfError: The target has no BTF.
    """
    if spec.btf is None or spec.btf_ext is None:
        return
    relocator = _Relocator(spec.btf, target)
    for record in spec.btf_ext.relocations:
        if record.offset % SLOT_SIZE:
            raise LinkingError(
                f"CO-RE relocation at byte {record.offset} of section {record.section!r} "
                "is not at an instruction"
            )
        place = functions.find(record.section, record.offset)
        if place is None:  # a program that is not to be loaded, or a weak function overridden
            continue
        function, slot = place
        try:
            relocator.relocate(function, slot, record)
        except MissingBtfError:
            raise
        except AmbiguousRelocationError as error:
            raise AmbiguousRelocationError(
                f"types of the target disagree on {relocator.access(record)}",
                candidates=error.candidates,
                program=function.name,
                instruction=slot,
            ) from None
        except (LinkingError, BtfError) as error:
            raise LinkingError(
                f"{record.kind.name} of {spec.btf.describe(record.type_id)} "
                f"({record.access}): {error}",
                program=function.name,
                instruction=slot,
            ) from error


class _Relocator:
    """Relocates the instructions of one object, one after the other."""

    def __init__(self, btf: Btf, target: Target) -> None:
        self._btf = btf
        self._candidates = Candidates(btf, target)
        self._finder = AccessFinder(btf)
        # Programs ask for the same fields again and again. An answer holds until there are fewer
        # candidates.
        self._answers: dict[tuple[int, str, CoreRelocationKind, int], Patch | str] = {}

    def access(self, record: CoreRelocation) -> Access:
        """What a relocation asks about."""
        return parse_access(self._btf, record.type_id, record.access, record.kind)

    def relocate(self, function: Function, slot: int, record: CoreRelocation) -> None:
        """Change one instruction."""
        patch = self._patch_for(record)
        if isinstance(patch, str):
            reason = patch
            poison(function.code, slot, RELOCATION_POISON)
        else:
            try:
                reason = apply(function.code, slot, patch)
            except LinkingError as error:
                raise LinkingError(f"{self.access(record)}: {error}") from error
        if reason:
            function.poisoned.append(PoisonedRelocation(slot, reason))

    def _patch_for(self, record: CoreRelocation) -> Patch | str:
        """What to put into the instruction, or why there is nothing to put."""
        if record.kind == CoreRelocationKind.TYPE_ID_LOCAL:
            self.access(record)  # to refuse what is malformed
            return Patch(record.type_id)
        candidates = self._candidates.of(record.type_id)
        question = (record.type_id, record.access, record.kind)
        answer = self._answers.get((*question, len(candidates)))
        if answer is None:
            answer = self._resolve(record, candidates)
            remaining = len(self._candidates.of(record.type_id))
            self._answers[*question, remaining] = answer
        return answer

    def _resolve(self, record: CoreRelocation, candidates: list[Candidate]) -> Patch | str:
        local = self.access(record)
        matches: list[Candidate] = []
        patches: list[Patch] = []
        bit_offsets: set[int] = set()
        mismatches: list[str] = []
        ours = relocation_value(local, record.kind)
        for candidate in candidates:
            found = self._finder.find(local, candidate.btf, candidate.type, record.kind)
            if isinstance(found, Mismatch):
                mismatches.append(f"{found.reason} ({candidate.origin})")
                continue
            matches.append(candidate)
            bit_offsets.add(found.bit_offset)
            patches.append(_patch(local, ours, found, relocation_value(found, record.kind)))
        if not matches:
            return self._absent(local, ours, record.kind, mismatches)
        if len(bit_offsets) > 1 or len({patch.value for patch in patches}) > 1:
            raise AmbiguousRelocationError(
                "types of the target disagree",
                candidates=[
                    f"{candidate}: {patch.value}"
                    for candidate, patch in zip(matches, patches, strict=True)
                ],
            )
        self._candidates.keep(record.type_id, matches)
        return patches[0]

    def _absent(
        self,
        local: Access,
        ours: RelocationValue,
        kind: CoreRelocationKind,
        mismatches: list[str],
    ) -> Patch | str:
        value = absent_value(kind)
        if value is not None:
            return Patch(value, ours.value if ours.is_certain else None)
        if mismatches:
            return mismatches[0]
        flavoured = self._btf.name(local.root)
        wanted = self._btf.describe(local.root).replace(flavoured, essential_name(flavoured))
        return f"there is no {wanted} ({self._candidates.origin})"


def _patch(local: Access, ours: RelocationValue, found: Access, theirs: RelocationValue) -> Patch:
    conflict = ""
    if ours.access_size != theirs.access_size and not loads_alike(
        local, ours.access_type, found, theirs.access_type
    ):
        conflict = (
            f"{found} is {_in_words(found, theirs)}, "
            f"which a load of {_in_words(local, ours)} can't read"
        )
    return Patch(
        theirs.value,
        ours.value if ours.is_certain else None,
        old_size=ours.access_size,
        new_size=theirs.access_size,
        size_conflict=conflict,
    )


def _in_words(access: Access, value: RelocationValue) -> str:
    if not value.access_size:
        return "a bitfield"
    return f"{access.btf.describe(value.access_type)} of {value.access_size} bytes"
