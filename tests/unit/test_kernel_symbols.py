"""Kernel symbols, searched in text like /proc/kallsyms."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import AmbiguousRelocationError, KernelError, PermissionDeniedError
from bpfstream.kernel import symbols
from bpfstream.kernel.symbols import Symbol, search

KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff81000100 t helper
ffffffff81000200 t helper
ffffffff82000000 D jiffies
ffffffff82000010 d hashed.llvm.1234567
ffffffff81000300 t hashed_text.llvm.1234567
ffffffffc0000000 t start\t[veth]
ffffffffc0000100 t start_late\t[veth]
"""
HIDDEN = b"0000000000000000 T _text\n0000000000000000 D jiffies\n"


@pytest.fixture
def kallsyms(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "kallsyms"
        path.write_bytes(text)
        monkeypatch.setattr(symbols, "KALLSYMS", path)

    return write


def test_only_wanted_symbols_are_found():
    found = search(io.BytesIO(KALLSYMS), ["jiffies", "absent"])
    assert found == {"jiffies": (Symbol("jiffies", 0xFFFFFFFF82000000, "D", ""),)}


def test_a_symbol_of_a_module_tells_the_module():
    (symbol,) = search(io.BytesIO(KALLSYMS), ["start"])["start"]
    assert symbol.module == "veth"


def test_all_functions_of_a_name_are_found():
    found = search(io.BytesIO(KALLSYMS), ["helper"])["helper"]
    assert [symbol.address for symbol in found] == [0xFFFFFFFF81000100, 0xFFFFFFFF81000200]


def test_static_data_is_found_in_spite_of_the_hash_behind_its_name():
    found = search(io.BytesIO(KALLSYMS), ["hashed", "hashed_text"])
    assert [symbol.address for symbol in found["hashed"]] == [0xFFFFFFFF82000010]
    assert "hashed_text" not in found


def test_lines_are_found_wherever_a_read_cuts_them(monkeypatch):
    whole = search(io.BytesIO(KALLSYMS), ["_text", "jiffies", "start_late", "helper"])
    for size in range(1, 80):
        monkeypatch.setattr(symbols, "_PIECE", size)
        assert search(io.BytesIO(KALLSYMS), list(whole)) == whole


@given(st.binary(), st.sets(st.text(min_size=1), max_size=3))
def test_any_text_can_be_searched(text, names):
    names = {name for name in names if name.encode(errors="ignore").decode() == name}
    assert set(search(io.BytesIO(text), names)) <= names


def test_an_address_is_given_for_each_symbol_that_exists(kallsyms):
    kallsyms(KALLSYMS)
    assert symbols.symbol_addresses(["jiffies", "absent"]) == {"jiffies": 0xFFFFFFFF82000000}


def test_a_name_of_two_addresses_is_ambiguous(kallsyms):
    kallsyms(KALLSYMS)
    with pytest.raises(AmbiguousRelocationError, match="helper") as caught:
        symbols.symbol_addresses(["helper"])
    assert len(caught.value.candidates) == 2


def test_hidden_addresses_are_a_matter_of_privilege(kallsyms):
    kallsyms(HIDDEN)
    with pytest.raises(PermissionDeniedError, match="CAP_SYSLOG"):
        symbols.symbol_addresses(["jiffies"])


def test_a_kernel_without_symbols_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(symbols, "KALLSYMS", tmp_path / "absent")
    with pytest.raises(KernelError, match="CONFIG_KALLSYMS"):
        symbols.find_symbols(["jiffies"])
