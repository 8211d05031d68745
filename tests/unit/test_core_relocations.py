"""CO-RE relocations: what instructions become on a kernel whose types differ.

Each test declares the types as the program was compiled with them ("local") and as the target has
them, and looks at the one instruction that the relocation is for.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.abi.btf import CoreRelocationKind as Kind
from bpfstream.asm import Code
from bpfstream.btf.types import (
    Array,
    Const,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    Int,
    Member,
    Pointer,
    Struct,
    Typedef,
    Union,
)
from bpfstream.errors import (
    AmbiguousRelocationError,
    LinkingError,
    MissingBtfError,
)
from bpfstream.linker import LinkedProgram, Target, link
from tests.support.linking import (
    EXIT,
    INT,
    U8,
    U16,
    U32,
    U64,
    Types,
    call,
    core,
    instruction,
    load,
    move,
    object_of,
    program,
    wide,
)

POISON = 195896080


def relocated(
    local: Types, target: Types | None, type_id: int, access: str, kind: Kind, code: bytes
) -> LinkedProgram:
    """The program `code`, with one relocation of its first instruction, made for the target."""
    spec = object_of(
        program(code + EXIT), btf=local.btf(), relocations=[core(type_id, access, kind)]
    )
    kernel = Target(btf=target.btf() if target else None, searched=("/sys/kernel/btf/vmlinux",))
    return link(spec, kernel).programs["probe"]


def value(local: Types, target: Types, type_id: int, access: str, kind: Kind, old: int) -> int:
    """What a ``r1 = old`` becomes."""
    linked = relocated(local, target, type_id, access, kind, move(old))
    assert linked.poisoned == ()
    assert linked.code.opcode(0) == 0xB7
    return linked.code.immediate(0)


def offset(local: Types, target: Types, type_id: int, access: str, old: int) -> int:
    """What the offset of a field becomes in ``r1 = old``."""
    return value(local, target, type_id, access, Kind.FIELD_BYTE_OFFSET, old)


def is_poisoned(code: Code, slot: int = 0) -> bool:
    return (code.opcode(slot), code.immediate(slot)) == (0x85, POISON)


# Fields -----------------------------------------------------------------------------------------


def test_a_field_that_moved():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("state", target.add(U64), 0), ("pid", target.add(INT), 24))
    linked = relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert bytes(linked.code) == load(4, 24) + EXIT
    assert linked.poisoned == ()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (move(4), move(24)),
        (wide(4), wide(24)),
        (instruction(0x07, 2, immediate=4), instruction(0x07, 2, immediate=24)),
        (load(4, 4), load(4, 24)),
        (instruction(0x63, 1, 2, offset=4), instruction(0x63, 1, 2, offset=24)),
        (instruction(0x62, 1, offset=4), instruction(0x62, 1, offset=24)),
    ],
    ids=["move", "wide load", "add", "load", "store", "store of a constant"],
)
def test_every_instruction_that_may_hold_an_offset(code, expected):
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    linked = relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, code)
    assert bytes(linked.code) == expected + EXIT


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (instruction(0x05, offset=4), "opcode 0x05"),
        (instruction(0xBF, 1, 2), "between registers"),
        (load(4, 8), "the compiler should have put 4"),
        (move(8), "the compiler should have put 4"),
        (wide(4, source=1), "malformed load"),
        (call(4), "opcode 0x85"),
    ],
    ids=["jump", "registers", "other offset", "other value", "map load", "call"],
)
def test_instructions_that_no_compiler_marks(code, message):
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    with pytest.raises(LinkingError, match=message) as caught:
        relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, code)
    assert (caught.value.program, caught.value.instruction) == ("probe", 0)
    assert "task::pid" in str(caught.value)


def test_a_flavour_stands_for_the_type_without_it():
    local, target = Types(), Types()
    task = local.struct("task___v5_10", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    assert offset(local, target, task, "0:0", 4) == 24


def test_flavours_are_not_cut_off_members():
    local, target = Types(), Types()
    task = local.struct("task", ("pid___x", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    linked = relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert is_poisoned(linked.code)


def test_anonymous_structs_on_the_way_do_not_matter():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    inner = target.add(Union("", 8, (Member("pid", target.add(INT), 32),)))
    middle = target.struct("", ("", inner, 8), size=16)
    target.struct("task", ("state", target.add(U64), 0), ("", middle, 8))
    assert offset(local, target, task, "0:0", 4) == 8 + 8 + 4


def test_anonymous_structs_of_the_program_only_add_their_offset():
    local, target = Types(), Types()
    inner = local.struct("", ("tid", local.add(INT), 0), ("pid", local.add(INT), 4), size=8)
    task = local.struct("task", ("", inner, 16))
    target.struct("task", ("pid", target.add(INT), 40))
    assert offset(local, target, task, "0:0:1", 20) == 40


def test_a_field_of_a_field():
    local, target = Types(), Types()
    mm = local.struct("mm", ("start", local.add(U64), 8), size=16)
    task = local.struct("task", ("mm", mm, 16))
    mm = target.struct("mm_renamed", ("start", target.add(U64), 24), size=32)
    target.struct("task", ("mm", target.add(Typedef("mm_t", target.add(Const(mm)))), 64))
    assert offset(local, target, task, "0:0:0", 24) == 88


def test_the_first_index_counts_whole_structs():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4), size=16)
    target.struct("task", ("pid", target.add(INT), 8), size=32)
    assert offset(local, target, task, "2:0", 36) == 72


def test_an_array_element():
    local, target = Types(), Types()
    index = local.add(U32)
    task = local.struct("task", ("comm", local.add(Array(local.add(U16), index, 8)), 0))
    index = target.add(U32)
    target.struct("task", ("comm", target.add(Array(target.add(U16), index, 4)), 8))
    assert offset(local, target, task, "0:0:3", 6) == 14
    linked = relocated(local, target, task, "0:0:4", Kind.FIELD_BYTE_OFFSET, load(2, 8))
    assert linked.poisoned[0].reason == (
        "task::comm is unsigned short[4] and has no element 4 (kernel BTF)"
    )


def test_the_array_at_the_end_of_a_struct_is_as_long_as_it_likes():
    local, target = Types(), Types()
    index = local.add(U32)
    flexible = local.add(Array(local.add(INT), index, 0))
    task = local.struct("task", ("n", local.add(INT), 0), ("items", flexible, 4))
    index = target.add(U32)
    flexible = target.add(Array(target.add(INT), index, 0))
    target.struct("task", ("n", target.add(INT), 0), ("items", flexible, 8))
    assert offset(local, target, task, "0:1:100", 404) == 408


def test_an_empty_array_elsewhere_has_no_elements():
    local = Types()
    flexible = local.add(Array(local.add(INT), local.add(U32), 0))
    task = local.struct("task", ("items", flexible, 4), ("n", local.add(INT), 4))
    with pytest.raises(LinkingError, match="no element 1"):
        relocated(local, local, task, "0:0:1", Kind.FIELD_BYTE_OFFSET, load(4, 8))


def test_the_first_member_of_the_name_decides():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    pointer = target.add(Pointer(0))
    target.struct("task", ("pid", pointer, 8), ("pid", target.add(INT), 16))
    linked = relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert linked.poisoned[0].reason == (
        'field "pid" of struct task is void *, not int (kernel BTF)'
    )


class TestFieldTypes:
    """Which types of a field may stand for one another."""

    @staticmethod
    def fit(ours, theirs) -> bool:
        local, target = Types(), Types()
        task = local.struct("task", ("field", ours(local), 0))
        target.struct("task", ("field", theirs(target), 8))
        exists = value(local, target, task, "0:0", Kind.FIELD_EXISTS, 1)
        return bool(exists)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (lambda t: t.add(INT), lambda t: t.add(U64)),
            (lambda t: t.add(Pointer(0)), lambda t: t.add(Pointer(t.add(INT)))),
            (lambda t: t.struct("a"), lambda t: t.struct("b")),
            (lambda t: t.struct("a"), lambda t: t.add(Union("b", 4))),
            (lambda t: t.enum("e", A=1), lambda t: t.add(Enum64("e", 8))),
            (lambda t: t.enum("e___old", A=1), lambda t: t.enum("e", B=2)),
            (lambda t: t.enum("", A=1), lambda t: t.enum("e", B=2)),
            (lambda t: t.add(Forward("f")), lambda t: t.add(Forward("f"))),
            (lambda t: t.add(Float("double", 8)), lambda t: t.add(Float("float", 4))),
            (
                lambda t: t.add(Array(t.add(INT), t.add(U32), 4)),
                lambda t: t.add(Array(t.add(U8), t.add(U32), 9)),
            ),
        ],
        ids=[
            "integers", "pointers", "structs", "struct and union", "enums of 32 and 64 bits",
            "flavoured enums", "nameless enum", "forwards", "floats", "arrays",
        ],
    )  # fmt: skip
    def test_that_fit(self, ours, theirs):
        assert self.fit(ours, theirs)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (lambda t: t.add(INT), lambda t: t.add(Pointer(0))),
            (lambda t: t.add(INT), lambda t: t.enum("e", A=1)),
            (lambda t: t.enum("e", A=1), lambda t: t.enum("f", A=1)),
            (lambda t: t.add(INT), lambda t: t.add(Int("int", 4, 3, offset=2))),
            (
                lambda t: t.add(Array(t.add(INT), t.add(U32), 4)),
                lambda t: t.add(Array(t.add(Pointer(0)), t.add(U32), 4)),
            ),
        ],
        ids=["integer and pointer", "integer and enum", "other enum", "old bitfield", "elements"],
    )
    def test_that_do_not_fit(self, ours, theirs):
        assert not self.fit(ours, theirs)


def test_size_and_sign_of_a_field():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(U64), 8))
    assert value(local, target, task, "0:0", Kind.FIELD_BYTE_SIZE, 4) == 8
    assert value(local, target, task, "0:0", Kind.FIELD_SIGNED, 1) == 0
    assert value(local, target, task, "0:0", Kind.FIELD_LSHIFT_U64, 32) == 0
    assert value(local, target, task, "0:0", Kind.FIELD_RSHIFT_U64, 32) == 0


@pytest.mark.parametrize(("present", "answer"), [(True, 1), (False, 0)], ids=["present", "absent"])
def test_whether_a_field_exists(present, answer):
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", *([("pid", target.add(INT), 0)] if present else []))
    assert value(local, target, task, "0:0", Kind.FIELD_EXISTS, 1) == answer


# Widths of loads ---------------------------------------------------------------------------------


def loaded(ours: Int | Pointer, theirs: Int | Pointer, code: bytes) -> LinkedProgram:
    local, target = Types(), Types()
    task = local.struct("task", ("field", local.add(ours), 0))
    target.struct("task", ("field", target.add(theirs), 16))
    return relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, code)


def test_a_load_of_an_unsigned_integer_takes_the_size_that_the_target_has():
    assert bytes(loaded(U32, U64, load(4, 0)).code) == load(8, 16) + EXIT
    assert bytes(loaded(U64, U8, load(8, 0)).code) == load(1, 16) + EXIT


def test_a_load_of_a_signed_integer_of_another_size_is_poisoned():
    linked = loaded(INT, U64, load(4, 0))
    assert is_poisoned(linked.code)
    assert linked.poisoned[0].reason == (
        "task::field is unsigned long of 8 bytes, which a load of int of 4 bytes can't read"
    )


def test_arithmetic_takes_the_offset_whatever_the_size():
    assert bytes(loaded(INT, U64, move(0)).code) == move(16) + EXIT


def test_a_load_of_part_of_a_field_that_changed_size_is_an_error():
    with pytest.raises(LinkingError, match="2 bytes of a field of 4"):
        loaded(U32, U64, load(2, 0))


def test_an_offset_that_no_load_reaches_is_an_error():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 0x8000), size=0x9000)
    with pytest.raises(LinkingError, match="32768"):
        relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert offset(local, target, task, "0:0", 4) == 0x8000


# Bitfields ---------------------------------------------------------------------------------------


def bitfield(types: Types, of: Int, at: int, bits: int) -> int:
    return types.add(Struct("flags", 16, (Member("f", types.add(of), at, bits),)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.FIELD_BYTE_OFFSET, 4),
        (Kind.FIELD_BYTE_SIZE, 4),
        (Kind.FIELD_SIGNED, 1),
        (Kind.FIELD_LSHIFT_U64, 64 - 13),
        (Kind.FIELD_RSHIFT_U64, 64 - 3),
    ],
    ids=lambda each: each.name if isinstance(each, Kind) else "",
)
def test_a_bitfield_is_read_with_a_load_and_two_shifts(kind, expected):
    local, target = Types(), Types()
    flags = bitfield(local, INT, at=0, bits=5)
    bitfield(target, INT, at=32 + 10, bits=3)
    old = {Kind.FIELD_SIGNED: 1, Kind.FIELD_RSHIFT_U64: 64 - 5}.get(kind, 99)
    assert value(local, target, flags, "0:0", kind, old) == expected


def test_a_bitfield_across_its_storage_is_read_with_a_wider_load():
    local, target = Types(), Types()
    flags = bitfield(local, U8, at=0, bits=5)
    bitfield(target, U8, at=6, bits=5)
    assert value(local, target, flags, "0:0", Kind.FIELD_BYTE_SIZE, 1) == 2
    assert value(local, target, flags, "0:0", Kind.FIELD_LSHIFT_U64, 0) == 64 - 11


def test_a_bitfield_that_no_load_covers_is_an_error():
    local, target = Types(), Types()
    flags = bitfield(local, U64, at=0, bits=40)
    bitfield(target, U64, at=40, bits=40)
    with pytest.raises(LinkingError, match="no load of 8 bytes"):
        relocated(local, target, flags, "0:0", Kind.FIELD_BYTE_SIZE, move(8))


def test_a_load_of_a_bitfield_that_became_a_plain_field_is_poisoned():
    local, target = Types(), Types()
    flags = bitfield(local, INT, at=0, bits=5)
    target.struct("flags", ("f", target.add(INT), 4))
    linked = relocated(local, target, flags, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 0))
    assert is_poisoned(linked.code)


# Types -------------------------------------------------------------------------------------------


def test_type_ids():
    local, target = Types(), Types()
    local.add(INT)
    task = local.struct("task")
    for _ in range(5):
        target.another(INT)
    theirs = target.struct("task")
    assert value(local, target, task, "0", Kind.TYPE_ID_LOCAL, 0) == task
    assert value(local, target, task, "0", Kind.TYPE_ID_TARGET, 0) == theirs


def test_the_local_id_of_a_nameless_type_needs_no_target():
    local = Types()
    nameless = local.struct("")
    linked = relocated(local, None, nameless, "0", Kind.TYPE_ID_LOCAL, move(0))
    assert linked.code.immediate(0) == nameless


def test_other_relocations_of_a_nameless_type_are_errors():
    local = Types()
    nameless = local.struct("")
    with pytest.raises(LinkingError, match="no name"):
        relocated(local, local, nameless, "0", Kind.TYPE_EXISTS, move(1))


@pytest.mark.parametrize(
    ("kind", "old", "answer"),
    [(Kind.TYPE_EXISTS, 1, 1), (Kind.TYPE_SIZE, 16, 24), (Kind.TYPE_MATCHES, 1, 1)],
    ids=["exists", "size", "matches"],
)
def test_questions_about_a_type(kind, old, answer):
    local, target = Types(), Types()
    task = local.struct("task", size=16)
    target.struct("task", size=24)
    assert value(local, target, task, "0", kind, old) == answer
    assert value(local, Types(), task, "0", kind, old) == 0, "a type that the target lacks"
    assert value(local, Types(), task, "0", Kind.TYPE_ID_TARGET, 0) == 0


def test_only_types_of_the_same_kind_are_candidates():
    local, target = Types(), Types()
    task = local.struct("task")
    alias = local.add(Typedef("task_t", task))
    target.add(Union("task", 64))
    target.struct("task_t")
    assert value(local, target, task, "0", Kind.TYPE_EXISTS, 1) == 0
    assert value(local, target, alias, "0", Kind.TYPE_EXISTS, 1) == 0
    target.add(Typedef("task_t", target.add(INT)))
    assert value(local, target, alias, "0", Kind.TYPE_EXISTS, 1) == 0, "a typedef of an integer"
    target.add(Typedef("task_t", target.struct("anything")))
    assert value(local, target, alias, "0", Kind.TYPE_EXISTS, 1) == 1


# Enumerators -------------------------------------------------------------------------------------


def test_the_value_of_an_enumerator():
    local, target = Types(), Types()
    helpers = local.enum("helper___x", FIRST=1, SECOND___y=2)
    target.enum("helper", SECOND=70000, FIRST=-1)
    assert value(local, target, helpers, "1", Kind.ENUMVAL_VALUE, 2) == 70000
    assert value(local, target, helpers, "0", Kind.ENUMVAL_VALUE, 1) == -1
    assert value(local, target, helpers, "0", Kind.ENUMVAL_EXISTS, 1) == 1


def test_an_enumerator_that_the_target_lacks():
    local, target = Types(), Types()
    helpers = local.enum("helper", FIRST=1)
    target.enum("helper", OTHER=1)
    assert value(local, target, helpers, "0", Kind.ENUMVAL_EXISTS, 1) == 0
    linked = relocated(local, target, helpers, "0", Kind.ENUMVAL_VALUE, wide(1))
    assert [is_poisoned(linked.code, slot) for slot in (0, 1)] == [True, True]
    assert linked.poisoned[0].reason == 'enum helper has no enumerator "FIRST" (kernel BTF)'


def test_an_enumerator_of_64_bits():
    local, target = Types(), Types()
    helpers = local.enum("helper", FIRST=1)
    target.add(Enum64("helper", 8, enumerators=(Enumerator("FIRST", 1 << 40),)))
    linked = relocated(local, target, helpers, "0", Kind.ENUMVAL_VALUE, wide(1))
    assert linked.code.wide(0) == 1 << 40


def test_negative_values_fill_64_bits():
    local, target = Types(), Types()
    helpers = local.enum("helper", FIRST=1)
    target.add(Enum("helper", 4, enumerators=(Enumerator("FIRST", 0xFFFF_FFFF),)))
    linked = relocated(local, target, helpers, "0", Kind.ENUMVAL_VALUE, wide(1))
    assert linked.code.wide(0) == (1 << 64) - 1


# What is missing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.FIELD_BYTE_OFFSET, load(4, 4)),
        (Kind.FIELD_BYTE_SIZE, move(4)),
        (Kind.FIELD_SIGNED, move(1)),
        (Kind.FIELD_LSHIFT_U64, move(32)),
        (Kind.FIELD_RSHIFT_U64, move(32)),
    ],
    ids=lambda each: each.name if isinstance(each, Kind) else "",
)
def test_a_field_that_the_target_lacks_poisons_the_instruction(kind, code):
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("tgid", target.add(INT), 4))
    linked = relocated(local, target, task, "0:0", kind, code)
    assert is_poisoned(linked.code)
    assert [(each.slot, each.reason) for each in linked.poisoned] == [
        (0, 'struct task has no field "pid" (kernel BTF)')
    ]


def test_a_type_that_the_target_lacks_poisons_the_instruction():
    local = Types()
    task = local.struct("task___new", ("pid", local.add(INT), 4))
    linked = relocated(local, Types(), task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert linked.poisoned[0].reason == "there is no struct task (kernel BTF)"


def test_a_target_without_btf():
    local = Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    with pytest.raises(MissingBtfError, match="struct task") as caught:
        relocated(local, None, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
    assert caught.value.searched == ("/sys/kernel/btf/vmlinux",)


# Several candidates ------------------------------------------------------------------------------


def test_candidates_that_agree():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    target.struct("task___2", ("pid", target.add(INT), 24), ("more", target.add(INT), 28))
    assert offset(local, target, task, "0:0", 4) == 24


def test_candidates_that_disagree_are_named():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    first = target.struct("task", ("pid", target.add(INT), 24))
    second = target.struct("task___2", ("pid", target.add(INT), 32))
    with pytest.raises(AmbiguousRelocationError, match="task::pid") as caught:
        offset(local, target, task, "0:0", 4)
    assert caught.value.candidates == (
        f"struct task (kernel BTF, type {first}): 24",
        f"struct task___2 (kernel BTF, type {second}): 32",
    )
    assert (caught.value.program, caught.value.instruction) == ("probe", 0)


def two_candidates() -> tuple[Types, Types, int]:
    """Only the second candidate has an ``id``; they disagree on ``pid``."""
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4), ("id", local.add(INT), 8))
    target.struct("task", ("pid", target.add(INT), 24))
    target.struct("task___2", ("pid", target.add(INT), 32), ("id", target.add(INT), 40))
    return local, target, task


def test_a_match_rules_out_the_other_candidates_from_then_on():
    local, target, task = two_candidates()
    spec = object_of(
        program(load(4, 8) + load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[
            core(task, "0:1", Kind.FIELD_BYTE_OFFSET, slot=0),
            core(task, "0:0", Kind.FIELD_BYTE_OFFSET, slot=1),
        ],
    )
    linked = link(spec, Target(btf=target.btf())).programs["probe"]
    assert bytes(linked.code) == load(4, 40) + load(4, 32) + EXIT


def test_the_order_of_relocations_matters():
    local, target, task = two_candidates()
    spec = object_of(
        program(load(4, 8) + load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[
            core(task, "0:0", Kind.FIELD_BYTE_OFFSET, slot=1),
            core(task, "0:1", Kind.FIELD_BYTE_OFFSET, slot=0),
        ],
    )
    with pytest.raises(AmbiguousRelocationError):
        link(spec, Target(btf=target.btf()))


def test_no_match_rules_out_nothing():
    local, target = Types(), Types()
    task = local.struct("task", ("gone", local.add(INT), 0), ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    spec = object_of(
        program(move(1) + load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[
            core(task, "0:0", Kind.FIELD_EXISTS, slot=0),
            core(task, "0:1", Kind.FIELD_BYTE_OFFSET, slot=1),
        ],
    )
    linked = link(spec, Target(btf=target.btf())).programs["probe"]
    assert bytes(linked.code) == move(0) + load(4, 24) + EXIT


# Programs that are not loaded --------------------------------------------------------------------


def test_relocations_of_programs_that_are_not_loaded_are_left_out():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    wrong = core(task, "0:9", Kind.FIELD_BYTE_OFFSET, section="raw_tp/other")
    spec = object_of(
        program(load(4, 4) + EXIT),
        program(load(4, 4) + EXIT, name="other", section="raw_tp/other", autoload=False),
        btf=local.btf(),
        relocations=[wrong, core(task, "0:0", Kind.FIELD_BYTE_OFFSET)],
    )
    linked = link(spec, Target(btf=target.btf()))
    assert list(linked.programs) == ["probe"]
    assert bytes(linked.programs["probe"].code) == load(4, 24) + EXIT


def test_the_spec_stays_as_it_is():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("pid", target.add(INT), 24))
    spec = object_of(
        program(load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[core(task, "0:0", Kind.FIELD_BYTE_OFFSET)],
    )
    kernel = Target(btf=target.btf())
    assert bytes(link(spec, kernel).programs["probe"].code) == load(4, 24) + EXIT
    assert spec.programs["probe"].instructions == load(4, 4) + EXIT
    assert bytes(link(spec, kernel).programs["probe"].code) == load(4, 24) + EXIT


# Modules and other BTF ---------------------------------------------------------------------------


class Module:
    """The BTF of a module, as the kernel room gives it."""

    def __init__(self, name: str, btf, id: int = 7) -> None:  # noqa: A002
        self.name, self.btf, self.id = name, btf, id


def module_with(kernel: Types, name: str, at: int) -> Module:
    types = Types(base=kernel.btf())
    types.struct("conn", ("mark", types.add(U32), at))
    return Module(name, types.btf(base=kernel.btf()))


def test_modules_are_looked_at_when_the_kernel_lacks_the_type():
    local, kernel = Types(), Types()
    conn = local.struct("conn", ("mark", local.add(U32), 4))
    kernel.add(INT)
    spec = object_of(
        program(load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[core(conn, "0:0", Kind.FIELD_BYTE_OFFSET)],
    )
    modules = [module_with(kernel, "nf_conntrack", 12)]
    linked = link(spec, Target(btf=kernel.btf(), modules=lambda: modules))
    assert bytes(linked.programs["probe"].code) == load(4, 12) + EXIT

    kernel.struct("conn", ("mark", kernel.add(U32), 20))
    linked = link(spec, Target(btf=kernel.btf(), modules=lambda: pytest.fail("asked for")))
    assert bytes(linked.programs["probe"].code) == load(4, 20) + EXIT


def test_given_btf_takes_the_place_of_kernel_and_modules():
    local, kernel, given_types = Types(), Types(), Types()
    conn = local.struct("conn", ("mark", local.add(U32), 4))
    kernel.struct("conn", ("mark", kernel.add(U32), 20))
    given_types.struct("conn", ("mark", given_types.add(U32), 28))
    spec = object_of(
        program(load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[core(conn, "0:0", Kind.FIELD_BYTE_OFFSET)],
    )
    target = Target(
        btf=kernel.btf(),
        relocation_btf=given_types.btf(),
        modules=lambda: pytest.fail("asked for"),
    )
    linked = link(spec, target)
    assert bytes(linked.programs["probe"].code) == load(4, 28) + EXIT


# Malformed records -------------------------------------------------------------------------------


def every_kind_of_type() -> tuple[Types, list[int]]:
    types = Types()
    integer = types.add(INT)
    array = types.add(Array(integer, integer, 4))
    inner = types.struct("inner", ("a", integer, 0), ("b", array, 4))
    ids = [
        integer,
        array,
        inner,
        types.struct("task", ("", inner, 0), ("p", types.add(Pointer(inner)), 24)),
        types.enum("helper", A=1, B=2),
        types.add(Typedef("task_t", inner)),
        types.add(Forward("elsewhere")),
        types.add(Float("double", 8)),
        bitfield(types, U8, 3, 7),
    ]
    return types, ids


@given(
    st.text(alphabet="0123456789:-x ", max_size=12)
    | st.lists(st.integers(0, 6), max_size=5).map(lambda each: ":".join(map(str, each))),
    st.integers(0, 8),
    st.sampled_from(Kind),
    st.sampled_from([load(4, 0), move(0), wide(0), EXIT]),
)
def test_whatever_the_record_says_the_error_is_ours(access, which, kind, code):
    types, ids = every_kind_of_type()
    with suppress(LinkingError):
        linked = relocated(types, types, ids[which], access, kind, code)
        assert len(linked.code) == len(code + EXIT) // 8


@pytest.mark.parametrize("access", ["", ":", "0:", ":0", "0:x", "-1", "0:" * 70 + "0", "9" * 5000])
def test_malformed_access_strings(access):
    local = Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    with pytest.raises(LinkingError, match="access string"):
        relocated(local, local, task, access, Kind.FIELD_BYTE_OFFSET, load(4, 4))


def test_a_record_between_instructions():
    local = Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    record = core(task, "0:0", Kind.FIELD_BYTE_OFFSET)
    spec = object_of(
        program(load(4, 4) + EXIT),
        btf=local.btf(),
        relocations=[type(record)(record.section, 3, task, "0:0", record.kind)],
    )
    with pytest.raises(LinkingError, match="not at an instruction"):
        link(spec, Target(btf=local.btf()))


def test_members_are_not_searched_twice():
    """Each level holds the next one twice: 2**50 ways to a member that is nowhere."""
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    inner = target.struct("", ("x", target.add(INT), 0), size=4)
    for depth in range(50):
        inner = target.struct("", ("", inner, 0), ("", inner, depth), size=4)
    target.struct("task", ("", inner, 0))
    assert value(local, target, task, "0:0", Kind.FIELD_EXISTS, 1) == 0


def test_members_nested_too_deep_are_an_error():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    inner = target.struct("", ("pid", target.add(INT), 0), size=4)
    for _ in range(70):
        inner = target.another(Struct("", 4, (Member("", inner, 0),)))
    target.struct("task", ("", inner, 0))
    with pytest.raises(LinkingError, match="nests deeper"):
        relocated(local, target, task, "0:0", Kind.FIELD_BYTE_OFFSET, load(4, 4))
