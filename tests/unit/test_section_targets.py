"""What follows a section's prefix: which target it names, and which texts name none."""

import errno
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream import links
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.abi.sections import SECTION_DEFINITIONS, split_section
from bpfstream.errors import AttachError, BpfstreamError
from bpfstream.links.attach import (
    KernelFunction,
    UserFunction,
    parse_kernel_function,
    parse_tracepoint,
    parse_user_function,
)

symbols = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,30}", fullmatch=True)
offsets = st.integers(min_value=1, max_value=2**63)
written = st.sampled_from([str, hex])
paths = st.from_regex(r"[a-zA-Z0-9_./-]{1,40}", fullmatch=True)


def program_of(section):
    """A program of a section that no kernel has."""
    definition, attach_to = split_section(section)
    return SimpleNamespace(
        name="handle",
        fd=-1,
        type=definition.type if definition else ProgramType.UNSPEC,
        attach_type=definition.attach_type if definition else AttachType(0),
        attach_to=attach_to,
        definition=definition,
    )


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("do_unlinkat", KernelFunction("do_unlinkat", 0)),
        ("do_unlinkat+0x10", KernelFunction("do_unlinkat", 16)),
        ("do_unlinkat+16", KernelFunction("do_unlinkat", 16)),
        ("foo.isra.0", KernelFunction("foo.isra.0", 0)),
        ("do_unlinkat+", None),
        ("do_unlinkat+010", None),  # octal to some, decimal to others
        ("do_unlinkat+x", None),
        ("do unlinkat", None),
        ("+4", None),
        ("", None),
    ],
)
def test_a_kernel_function_is_a_symbol_and_maybe_an_offset(text, function):
    assert parse_kernel_function(text) == function


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("/usr/bin/bash:readline", UserFunction("/usr/bin/bash", "readline", 0)),
        ("libc.so.6:malloc", UserFunction("libc.so.6", "malloc", 0)),
        ("libc.so.6:malloc+0x8", UserFunction("libc.so.6", "malloc", 8)),
        ("libc.so.6:wait@GLIBC_2.3.2", UserFunction("libc.so.6", "wait@GLIBC_2.3.2", 0)),
        ("/bin/true:0x1234", UserFunction("/bin/true", None, 0x1234)),
        ("/bin/true:operator+", UserFunction("/bin/true", "operator+", 0)),
        ("/bin/true:ns::f", UserFunction("/bin/true", "ns::f", 0)),
        ("/usr/bin/bash", None),
        ("/usr/bin/bash:", None),
        (":readline", None),
        ("/usr/bin/bash\0:readline", None),
    ],
)
def test_a_user_function_is_a_path_and_a_place(text, function):
    assert parse_user_function(text) == function


@pytest.mark.parametrize(
    ("text", "tracepoint"),
    [
        ("sched/sched_switch", ("sched", "sched_switch")),
        ("sched", None),
        ("sched/", None),
        ("/sched_switch", None),
        ("a/b/c", None),
    ],
)
def test_a_tracepoint_is_a_category_and_a_name(text, tracepoint):
    assert parse_tracepoint(text) == tracepoint


@given(symbols, offsets, written)
def test_a_kernel_function_reads_back(symbol, offset, write):
    assert parse_kernel_function(f"{symbol}+{write(offset)}") == KernelFunction(symbol, offset)


@given(paths, symbols, offsets, written)
def test_a_user_function_reads_back(path, symbol, offset, write):
    assert parse_user_function(f"{path}:{symbol}+{write(offset)}") == UserFunction(
        path, symbol, offset
    )
    assert parse_user_function(f"{path}:{write(offset)}") == UserFunction(path, None, offset)


@given(st.text())
def test_any_text_is_a_target_or_none(text):
    parse_kernel_function(text)
    parse_tracepoint(text)
    parsed = parse_user_function(text)
    assert parsed is None or text.startswith(parsed.path + ":")


@pytest.mark.parametrize(
    ("section", "call"),
    [
        ("kprobe", "attach_kprobe"),
        ("kretprobe", "retprobe=True"),
        ("ksyscall", "attach_ksyscall"),
        ("uprobe", "attach_uprobe"),
        ("uretprobe.s", "retprobe=True"),
        ("tracepoint", "attach_tracepoint"),
        ("tp", "attach_tracepoint"),
        ("raw_tp", "attach_raw_tracepoint"),
        ("perf_event", "attach_perf_event"),
        ("xdp", "attach_xdp"),
    ],
)
def test_a_section_that_names_no_target_says_which_call_does(section, call):
    with pytest.raises(AttachError, match="names no target") as caught:
        links.attach(program_of(section))
    assert call in str(caught.value)


@pytest.mark.parametrize(
    ("section", "form"),
    [
        ("kprobe/do unlinkat", "FUNCTION+OFFSET"),
        ("uprobe//usr/bin/bash", "PATH:FUNCTION"),
        ("tp/sched_switch", "CATEGORY/NAME"),
    ],
)
def test_a_malformed_target_is_shown_with_the_form_it_should_have(section, form):
    with pytest.raises(AttachError) as caught:
        links.attach(program_of(section))
    assert form in str(caught.value)
    assert program_of(section).attach_to in str(caught.value)


def test_an_unknown_section_is_attached_by_an_explicit_call():
    with pytest.raises(AttachError, match=r"attach_\* functions"):
        links.attach(program_of("my_section"))


def test_kinds_of_later_versions_are_named():
    with pytest.raises(AttachError, match="socket_filter") as caught:
        links.attach(program_of("socket"))
    assert caught.value.errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("definition", SECTION_DEFINITIONS, ids=lambda row: row.name)
def test_every_section_without_a_program_fails_with_an_error_of_ours(definition):
    with pytest.raises(BpfstreamError, match="handle"):
        links.attach(program_of(definition.name))
