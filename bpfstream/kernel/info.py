"""What the kernel tells of programs, maps and BTF (``BPF_OBJ_GET_INFO_BY_FD``, Linux 4.13).

It fills as much of a struct as it knows: a field that came with a later kernel is 0 or empty.
"""

from __future__ import annotations

import errno
import sys
from array import array

import msgspec

from bpfstream.abi import attributes, infos
from bpfstream.abi.commands import Command
from bpfstream.kernel.syscalls import address_of, bpf_uninterrupted

_FIRST_BIT = 1 if sys.byteorder == "little" else 1 << 31
"""A one-bit field that is the first of its word, as compilers place it."""

_NAME_SIZE = 64
"""Bytes for the name of kernel BTF: a module's has at most 56 (MODULE_NAME_LEN)."""


def query(fd: int, buffer: bytearray) -> None:
    """Have the kernel fill a buffer, which may hold what it is asked for, about an object.

    Raises:
        OSError: With the kernel's errno; ENOSPC when a text is longer than its buffer.
    """
    request = attributes.INFO.pack(bpf_fd=fd, info_len=len(buffer), info=address_of(buffer))
    bpf_uninterrupted(Command.OBJ_GET_INFO_BY_FD, request)


def decode_text(raw: bytes | bytearray) -> str:
    """The text up to the first NUL."""
    return raw.partition(b"\0")[0].decode(errors="replace")


class ProgramInfo(msgspec.Struct, frozen=True):
    """A loaded program (``struct bpf_prog_info``).

    Attributes:
        type: Its `ProgramType`, as a number since it may be one that this library does not know.
        id: Its id.
        name: Its name, at most 15 characters (Linux 4.15).
        tag: A hash of its instructions, 8 bytes.
        gpl_compatible: Whether its licence is (4.18).
        load_time: When it was loaded, in nanoseconds since boot (4.15).
        created_by_uid: Who loaded it (4.15).
        map_ids: The maps that it uses, sorted as the kernel does (4.15).
        interface_index: The network device that it is bound to (4.16).
        netns_device: Device of that one's network namespace.
        netns_inode: Inode of that one's network namespace.
        btf_id: Its BTF (5.0).
        translated_size: Bytes of its instructions as the verifier left them.
        jited_size: Bytes of machine code; 0 when interpreted or hidden from this process.
        function_count: Functions that the machine code consists of (4.18).
        function_info_count: Function records of its BTF (5.0).
        function_info_size: Bytes of one.
        line_info_count: Line records of its BTF (5.0).
        line_info_size: Bytes of one.
        jited_line_info_count: Machine addresses of lines.
        jited_line_info_size: Bytes of one.
        tag_count: Function tags.
        run_time: Nanoseconds that it ran while statistics were on (5.1).
        run_count: How often (5.1).
        recursion_misses: How often it did not run, since it ran already on that CPU (5.12).
        verified_instructions: Instructions that the verifier visited (5.16).
        attach_btf_object_id: BTF of its target (6.0).
        attach_btf_id: The target's type there (6.0).
    """

    type: int
    id: int
    name: str
    tag: bytes
    gpl_compatible: bool
    load_time: int
    created_by_uid: int
    map_ids: tuple[int, ...]
    interface_index: int
    netns_device: int
    netns_inode: int
    btf_id: int
    translated_size: int
    jited_size: int
    function_count: int
    function_info_count: int
    function_info_size: int
    line_info_count: int
    line_info_size: int
    jited_line_info_count: int
    jited_line_info_size: int
    tag_count: int
    run_time: int
    run_count: int
    recursion_misses: int
    verified_instructions: int
    attach_btf_object_id: int
    attach_btf_id: int


def program_info(fd: int) -> ProgramInfo:
    """Ask about a program.

    Raises:
        OSError: With the kernel's errno.
    """
    layout = infos.PROG_INFO
    buffer = bytearray(layout.size)
    query(fd, buffer)
    facts = layout.unpack(buffer)
    map_count = facts["nr_map_ids"]
    map_ids = array("I", bytes(4 * map_count))
    if map_count:
        maps = bytearray(4 * map_count)
        query(fd, layout.pack(nr_map_ids=map_count, map_ids=address_of(maps)))
        map_ids = array("I", bytes(maps))
    return ProgramInfo(
        type=facts["type"],
        id=facts["id"],
        name=decode_text(facts["name"]),
        tag=facts["tag"],
        gpl_compatible=bool(facts["gpl_compatible"] & _FIRST_BIT),
        load_time=facts["load_time"],
        created_by_uid=facts["created_by_uid"],
        map_ids=tuple(map_ids),
        interface_index=facts["ifindex"],
        netns_device=facts["netns_dev"],
        netns_inode=facts["netns_ino"],
        btf_id=facts["btf_id"],
        translated_size=facts["xlated_prog_len"],
        jited_size=facts["jited_prog_len"],
        function_count=facts["nr_jited_ksyms"],
        function_info_count=facts["nr_func_info"],
        function_info_size=facts["func_info_rec_size"],
        line_info_count=facts["nr_line_info"],
        line_info_size=facts["line_info_rec_size"],
        jited_line_info_count=facts["nr_jited_line_info"],
        jited_line_info_size=facts["jited_line_info_rec_size"],
        tag_count=facts["nr_prog_tags"],
        run_time=facts["run_time_ns"],
        run_count=facts["run_cnt"],
        recursion_misses=facts["recursion_misses"],
        verified_instructions=facts["verified_insns"],
        attach_btf_object_id=facts["attach_btf_obj_id"],
        attach_btf_id=facts["attach_btf_id"],
    )


class MapInfo(msgspec.Struct, frozen=True):
    """A map (``struct bpf_map_info``).

    Attributes:
        type: Its `MapType`, as a number since it may be one that this library does not know.
        id: Its id.
        name: Its name, at most 15 characters (Linux 4.15).
        key_size: Bytes of a key.
        value_size: Bytes of a value.
        max_entries: How many elements it takes; bytes for ring buffers.
        flags: Its `MapFlags`, as a number.
        interface_index: The network device that it is bound to (4.16).
        netns_device: Device of that one's network namespace.
        netns_inode: Inode of that one's network namespace.
        btf_id: The BTF that describes keys and values (4.18).
        btf_key_type_id: The key's type there.
        btf_value_type_id: The value's type there.
        btf_vmlinux_value_type_id: The value's type in the kernel's BTF, of struct_ops maps (5.6).
        btf_vmlinux_id: The kernel BTF that this one is in (6.8).
        map_extra: What the map's type makes of it (5.16).
    """

    type: int
    id: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    interface_index: int
    netns_device: int
    netns_inode: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_value_type_id: int
    btf_vmlinux_id: int
    map_extra: int


def map_info(fd: int) -> MapInfo:
    """Ask about a map.

    Raises:
        OSError: With the kernel's errno.
    """
    buffer = bytearray(infos.MAP_INFO.size)
    query(fd, buffer)
    facts = infos.MAP_INFO.unpack(buffer)
    return MapInfo(
        type=facts["type"],
        id=facts["id"],
        name=decode_text(facts["name"]),
        key_size=facts["key_size"],
        value_size=facts["value_size"],
        max_entries=facts["max_entries"],
        flags=facts["map_flags"],
        interface_index=facts["ifindex"],
        netns_device=facts["netns_dev"],
        netns_inode=facts["netns_ino"],
        btf_id=facts["btf_id"],
        btf_key_type_id=facts["btf_key_type_id"],
        btf_value_type_id=facts["btf_value_type_id"],
        btf_vmlinux_value_type_id=facts["btf_vmlinux_value_type_id"],
        btf_vmlinux_id=facts["btf_vmlinux_id"],
        map_extra=facts["map_extra"],
    )


class BtfInfo(msgspec.Struct, frozen=True):
    """BTF that the kernel holds (``struct bpf_btf_info``).

    Attributes:
        id: Its id.
        size: Its bytes.
        name: ``vmlinux``, a module's name, or empty for a program's (Linux 5.11).
        is_kernel: Whether the kernel or a module brought it, and not a program (5.11).
    """

    id: int
    size: int
    name: str
    is_kernel: bool


def btf_info(fd: int) -> BtfInfo:
    """Ask about BTF.

    Raises:
        OSError: With the kernel's errno.
    """
    buffer = bytearray(infos.BTF_INFO.size)
    query(fd, buffer)
    facts = infos.BTF_INFO.unpack(buffer)
    try:
        name = btf_name(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.E2BIG):
            raise
        name = ""  # before 5.11 the struct ends at the id
    return BtfInfo(facts["id"], facts["btf_size"], name, bool(facts["kernel_btf"]))


def btf_name(fd: int) -> str:
    """The name of BTF that the kernel or a module brought (Linux 5.11); else empty.

    Raises:
        OSError: E2BIG when the kernel has no such names.
    """
    name = bytearray(_NAME_SIZE)
    query(fd, infos.BTF_INFO.pack(name=address_of(name), name_len=len(name)))
    return decode_text(name)


def btf_data(fd: int) -> bytes:
    """The BTF itself, as it was loaded.

    Raises:
        OSError: With the kernel's errno.
    """
    data = bytearray(btf_info(fd).size)
    query(fd, infos.BTF_INFO.pack(btf=address_of(data), btf_size=len(data)))
    return bytes(data)
