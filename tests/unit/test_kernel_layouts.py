"""The notation for C structs, and that the structs written in it are those of the kernel."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.abi import attributes, infos, perf
from bpfstream.abi.layouts import Layout

FIELD_TYPES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "s16": 2, "s32": 4, "s64": 8}

ATTRIBUTE = "union bpf_attr"
LINK = "struct bpf_link_info"
STRUCTS = {
    "MAP_CREATE": (attributes.MAP_CREATE, ATTRIBUTE, {}),
    "MAP_ELEMENT": (attributes.MAP_ELEMENT, ATTRIBUTE, {}),
    "MAP_BATCH": (attributes.MAP_BATCH, ATTRIBUTE, "batch."),
    "PROG_LOAD": (attributes.PROG_LOAD, ATTRIBUTE, {}),
    "OBJ": (attributes.OBJ, ATTRIBUTE, {}),
    "GET_ID": (attributes.GET_ID, ATTRIBUTE, {}),
    "INFO": (attributes.INFO, ATTRIBUTE, "info."),
    "RAW_TRACEPOINT_OPEN": (attributes.RAW_TRACEPOINT_OPEN, ATTRIBUTE, "raw_tracepoint."),
    "BTF_LOAD": (attributes.BTF_LOAD, ATTRIBUTE, {}),
    "LINK_CREATE": (attributes.LINK_CREATE, ATTRIBUTE, "link_create."),
    "LINK_CREATE_PERF_EVENT": (
        attributes.LINK_CREATE_PERF_EVENT,
        ATTRIBUTE,
        {"bpf_cookie": "link_create.perf_event.", "": "link_create."},
    ),
    "LINK_CREATE_TRACING": (
        attributes.LINK_CREATE_TRACING,
        ATTRIBUTE,
        {
            "target_btf_id": "link_create.tracing.",
            "cookie": "link_create.tracing.",
            "": "link_create.",
        },
    ),
    "LINK_UPDATE": (attributes.LINK_UPDATE, ATTRIBUTE, "link_update."),
    "LINK_DETACH": (attributes.LINK_DETACH, ATTRIBUTE, "link_detach."),
    "PROG_INFO": (infos.PROG_INFO, "struct bpf_prog_info", {}),
    "MAP_INFO": (infos.MAP_INFO, "struct bpf_map_info", {}),
    "BTF_INFO": (infos.BTF_INFO, "struct bpf_btf_info", {}),
    "LINK_RAW_TRACEPOINT": (infos.LINK_RAW_TRACEPOINT, LINK, "raw_tracepoint."),
    "LINK_TRACING": (infos.LINK_TRACING, LINK, "tracing."),
    "LINK_CGROUP": (infos.LINK_CGROUP, LINK, "cgroup."),
    "LINK_NETNS": (infos.LINK_NETNS, LINK, "netns."),
    "LINK_XDP": (infos.LINK_XDP, LINK, "xdp."),
    "LINK_PERF_UPROBE": (
        infos.LINK_PERF_UPROBE,
        LINK,
        {"perf_type": "perf_event.type:", "": "perf_event.uprobe."},
    ),
    "LINK_PERF_KPROBE": (
        infos.LINK_PERF_KPROBE,
        LINK,
        {"perf_type": "perf_event.type:", "": "perf_event.kprobe."},
    ),
    "LINK_PERF_TRACEPOINT": (
        infos.LINK_PERF_TRACEPOINT,
        LINK,
        {"perf_type": "perf_event.type:", "": "perf_event.tracepoint."},
    ),
    "LINK_PERF_HARDWARE": (
        infos.LINK_PERF_HARDWARE,
        LINK,
        {
            "perf_type": "perf_event.type:",
            "event_type": "perf_event.event.type:",
            "": "perf_event.event.",
        },
    ),
    "ATTRIBUTES": (perf.ATTRIBUTES, "struct perf_event_attr", {}),
}
"""Each layout, its C type, and a field's prefix there; the whole name if it ends with a colon."""

COMMON_TO_LINKS = ("type", "id", "prog_id")
BIT_FIELDS_AND_PADDING = {"gpl_compatible", "pad", "reserved_2", "reserved_3"}


def c_member(field, kind, prefixes):
    if kind == LINK and field in COMMON_TO_LINKS:
        return field
    prefix = prefixes if isinstance(prefixes, str) else prefixes.get(field, prefixes.get("", ""))
    return prefix[:-1] if prefix.endswith(":") else prefix + field


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Offset and size of each member by the C compiler, without those that its headers lack."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("layouts") / "offsets"
    members = sorted({place for name in STRUCTS for place in places_of(name)})
    while True:
        checks = [
            f'printf("%zu %zu\\n", offsetof({kind}, {member}), sizeof((({kind} *)0)->{member}));'
            for kind, member in members
        ]
        headers = ("stddef.h", "stdio.h", "linux/bpf.h", "linux/perf_event.h")
        opening = [*(f"#include <{header}>" for header in headers), "int main(void) {"]
        source = "\n".join([*opening, *checks, "return 0; }", ""])
        command = ["cc", "-x", "c", "-", "-o", str(program)]
        built = subprocess.run(command, input=source, capture_output=True, text=True)
        if built.returncode == 0:
            break
        failing = {int(line) for line in re.findall(r"^<stdin>:(\d+):", built.stderr, re.MULTILINE)}
        kept = [each for line, each in enumerate(members, len(opening) + 1) if line not in failing]
        assert len(kept) < len(members), built.stderr
        members = kept
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in output.splitlines()]
    return dict(zip(members, pairs, strict=True))


def places_of(name):
    """Where a layout puts each member of its C type."""
    layout, kind, prefixes = STRUCTS[name]
    return {
        (kind, c_member(field, kind, prefixes)): layout.place(field)
        for field in layout.names
        if field not in BIT_FIELDS_AND_PADDING and (name, field) != ("ATTRIBUTES", "flags")
    }


@pytest.mark.parametrize("name", STRUCTS)
def test_the_fields_lie_where_the_c_compiler_puts_them(name, compiled):
    places = places_of(name)
    known = {member: compiled[member] for member in places if member in compiled}
    assert known == {member: places[member] for member in known}


def test_the_headers_know_most_of_the_fields(compiled):
    assert len(compiled) > 100


def test_fields_that_older_headers_lack_lie_where_newer_ones_have_them():
    """From linux/bpf.h of Linux 6.18, by hand."""
    expected = [
        (attributes.MAP_CREATE, "value_type_btf_obj_fd", 72),
        (attributes.MAP_CREATE, "map_token_fd", 76),
        (attributes.PROG_LOAD, "log_true_size", 140),
        (attributes.PROG_LOAD, "prog_token_fd", 144),
        (attributes.PROG_LOAD, "fd_array_cnt", 148),
        (attributes.OBJ, "path_fd", 16),
        (attributes.RAW_TRACEPOINT_OPEN, "cookie", 16),
        (attributes.BTF_LOAD, "btf_log_true_size", 28),
        (infos.MAP_INFO, "btf_vmlinux_id", 76),
        (infos.LINK_RAW_TRACEPOINT, "cookie", 32),
        (infos.LINK_TRACING, "cookie", 32),
        (infos.LINK_PERF_UPROBE, "ref_ctr_offset", 48),
        (infos.LINK_PERF_KPROBE, "addr", 40),
        (infos.LINK_PERF_KPROBE, "missed", 48),
        (infos.LINK_PERF_KPROBE, "cookie", 56),
        (infos.LINK_PERF_TRACEPOINT, "cookie", 40),
        (infos.LINK_PERF_HARDWARE, "config", 24),
        (infos.LINK_PERF_HARDWARE, "event_type", 32),
        (infos.LINK_PERF_HARDWARE, "cookie", 40),
        (infos.PROG_INFO, "attach_btf_id", 224),
    ]
    found = [(layout, field, layout.place(field)[0]) for layout, field, _ in expected]
    assert found == expected


def test_a_field_begins_at_a_multiple_of_its_width():
    layout = Layout("u32 map_fd; u64 key, value; char[3] name; u16 last")
    assert {name: layout.place(name)[0] for name in layout.names} == {
        "map_fd": 0,
        "key": 8,
        "value": 16,
        "name": 24,
        "last": 28,
    }
    assert layout.size == 32


def test_what_is_not_set_is_zero():
    layout = Layout("u32 a; u64 b")
    assert layout.pack(b=1) == layout.pack(a=0, b=1)
    assert bytes(layout.pack()) == bytes(16)


def test_a_field_that_is_not_there_can_not_be_set():
    with pytest.raises(KeyError):
        Layout("u32 a").pack(b=1)


@given(st.lists(st.sampled_from(list(FIELD_TYPES)), min_size=1, max_size=12), st.data())
def test_fields_come_back_as_they_were_packed(kinds, data):
    layout = Layout(";".join(f"{kind} f{number}" for number, kind in enumerate(kinds)))
    values = {}
    for number, kind in enumerate(kinds):
        bits = 8 * FIELD_TYPES[kind]
        low, high = (-(1 << bits - 1), 1 << bits - 1) if kind[0] == "s" else (0, 1 << bits)
        values[f"f{number}"] = data.draw(st.integers(low, high - 1))
    assert layout.unpack(layout.pack(**values)) == values
