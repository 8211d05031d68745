"""What bpf(2) takes for each command: the members of ``union bpf_attr`` (include/uapi/linux/bpf.h).

File descriptors are signed here, as the kernel reads them, so that -1 may be passed where none is
meant. The kernel takes an attribute that is shorter than its own, the rest being zero, and one that
is longer if the rest is zero; so fields that an old kernel lacks do no harm while they are unset.
"""

from bpfstream.abi.layouts import Layout

NAME_LENGTH = 16
"""Bytes of the name of a map or program, with the NUL that ends it (``BPF_OBJ_NAME_LEN``)."""

MAP_CREATE = Layout(
    """
    u32 map_type, key_size, value_size, max_entries, map_flags;
    s32 inner_map_fd;
    u32 numa_node;
    char[16] map_name;
    u32 map_ifindex;
    s32 btf_fd;
    u32 btf_key_type_id, btf_value_type_id, btf_vmlinux_value_type_id;
    u64 map_extra;
    s32 value_type_btf_obj_fd, map_token_fd
    """
)

MAP_ELEMENT = Layout("s32 map_fd; u64 key, value, flags")
"""Of the look-up, update, delete and next-key commands; the next key goes where `value` points."""

MAP_BATCH = Layout(
    "u64 in_batch, out_batch, keys, values; u32 count; s32 map_fd; u64 elem_flags, flags"
)

PROG_LOAD = Layout(
    """
    u32 prog_type, insn_cnt;
    u64 insns, license;
    u32 log_level, log_size;
    u64 log_buf;
    u32 kern_version, prog_flags;
    char[16] prog_name;
    u32 prog_ifindex, expected_attach_type;
    s32 prog_btf_fd;
    u32 func_info_rec_size;
    u64 func_info;
    u32 func_info_cnt, line_info_rec_size;
    u64 line_info;
    u32 line_info_cnt, attach_btf_id;
    s32 attach_prog_fd;
    u32 core_relo_cnt;
    u64 fd_array, core_relos;
    u32 core_relo_rec_size, log_true_size;
    s32 prog_token_fd;
    u32 fd_array_cnt
    """
)
"""`attach_prog_fd` is also ``attach_btf_obj_fd``: the same word, for a module's BTF."""

OBJ = Layout("u64 pathname; s32 bpf_fd; u32 file_flags; s32 path_fd")
"""Of ``BPF_OBJ_PIN`` and ``BPF_OBJ_GET``."""

GET_ID = Layout("u32 start_id, next_id, open_flags")
"""Of ``BPF_*_GET_NEXT_ID`` and ``BPF_*_GET_FD_BY_ID``, which takes the id in `start_id`."""

INFO = Layout("s32 bpf_fd; u32 info_len; u64 info")

RAW_TRACEPOINT_OPEN = Layout("u64 name; s32 prog_fd; u64 cookie")

BTF_LOAD = Layout(
    """
    u64 btf, btf_log_buf;
    u32 btf_size, btf_log_size, btf_log_level, btf_log_true_size, btf_flags;
    s32 btf_token_fd
    """
)

LINK_CREATE = Layout("s32 prog_fd, target_fd; u32 attach_type, flags")
"""What all attach types share; `target_fd` is also ``target_ifindex``."""

LINK_CREATE_PERF_EVENT = Layout("s32 prog_fd, target_fd; u32 attach_type, flags; u64 bpf_cookie")

LINK_CREATE_TRACING = Layout(
    "s32 prog_fd, target_fd; u32 attach_type, flags, target_btf_id; u64 cookie"
)

LINK_UPDATE = Layout("s32 link_fd, new_prog_fd; u32 flags; s32 old_prog_fd")

LINK_DETACH = Layout("s32 link_fd")

ENABLE_STATS = Layout("u32 type")
