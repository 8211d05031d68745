"""Code: an editable run of encoded instructions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.asm import Code
from bpfstream.errors import ObjectError

slots = st.tuples(
    st.integers(0, 255),
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(-0x8000, 0x7FFF),
    st.integers(-0x8000_0000, 0x7FFF_FFFF),
)
byteorders = st.sampled_from(["little", "big"])


@given(st.lists(slots), byteorders)
def test_what_is_written_is_read(fields, byteorder):
    code = Code(bytes(8 * len(fields)), byteorder)
    for slot, (opcode, destination, source, offset, immediate) in enumerate(fields):
        code.replace(
            slot,
            opcode=opcode,
            destination=destination,
            source=source,
            offset=offset,
            immediate=immediate,
        )
    assert len(code) == len(fields)
    assert fields == [
        (
            code.opcode(slot),
            code.destination(slot),
            code.source(slot),
            code.offset(slot),
            code.immediate(slot),
        )
        for slot in range(len(code))
    ]
    assert Code(bytes(code), byteorder) == code
    assert bytes.fromhex(code.hex()) == bytes(code)


@given(st.integers(0, 2**64 - 1), byteorders)
def test_a_wide_load_holds_64_bits_in_two_slots(value, byteorder):
    code = Code(b"\x18" + bytes(15), byteorder)
    code.set_wide(0, value)
    assert code.wide(0) == value
    assert code.opcode(0) == 0x18
    assert code.opcode(1) == 0


def test_registers_change_places_with_the_byte_order():
    # call of a subprogram: source register 1, destination 0
    assert Code(bytes.fromhex("8510000003000000"), "little").source(0) == 1
    assert Code(bytes.fromhex("8501000000000003"), "big").source(0) == 1


def test_instructions_leaves_out_the_second_halves_of_wide_loads():
    code = Code(bytes.fromhex("b701000000000000" + "1801000000000000" + "00" * 8 + "95" + "00" * 7))
    assert list(code.instructions()) == [0, 1, 3]


def test_a_wide_load_that_is_cut_off_is_none():
    code = Code(b"\x18" + bytes(7))
    assert not code.is_wide(0)


def test_append_returns_where_the_other_begins():
    code = Code(bytes(16))
    other = Code(b"\x95" + bytes(7))
    assert code.append(other) == 2
    assert code.opcode(2) == 0x95
    other.set_opcode(0, 0)
    assert code.opcode(2) == 0x95, "a copy was appended"


def test_code_of_another_byte_order_is_not_appended():
    with pytest.raises(ValueError, match="big-endian"):
        Code(b"", "little").append(Code(b"", "big"))


@pytest.mark.parametrize("slot", [-1, 2])
def test_there_is_no_slot_outside(slot):
    code = Code(bytes(16))
    with pytest.raises(IndexError):
        code.opcode(slot)
    with pytest.raises(IndexError):
        code.set_immediate(slot, 0)


def test_values_that_do_not_fit_are_refused():
    code = Code(bytes(16))
    with pytest.raises(ValueError, match="16 bits"):
        code.set_offset(0, 0x8000)
    with pytest.raises(ValueError, match="32 bits"):
        code.set_immediate(0, 1 << 32)
    with pytest.raises(ValueError, match="64 bits"):
        code.set_wide(0, 1 << 64)
    assert bytes(code) == bytes(16)


def test_code_is_whole_instructions():
    with pytest.raises(ObjectError) as caught:
        Code(bytes(20))
    assert caught.value.offset == 16
