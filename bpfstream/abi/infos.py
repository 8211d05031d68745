"""What the kernel tells about its BPF objects (``struct bpf_*_info``, include/uapi/linux/bpf.h).

An older kernel fills the first part of a struct; the rest stays zero.
"""

from bpfstream.abi.layouts import Layout

PROG_INFO = Layout(
    """
    u32 type, id;
    char[8] tag;
    u32 jited_prog_len, xlated_prog_len;
    u64 jited_prog_insns, xlated_prog_insns, load_time;
    u32 created_by_uid, nr_map_ids;
    u64 map_ids;
    char[16] name;
    u32 ifindex, gpl_compatible;
    u64 netns_dev, netns_ino;
    u32 nr_jited_ksyms, nr_jited_func_lens;
    u64 jited_ksyms, jited_func_lens;
    u32 btf_id, func_info_rec_size;
    u64 func_info;
    u32 nr_func_info, nr_line_info;
    u64 line_info, jited_line_info;
    u32 nr_jited_line_info, line_info_rec_size, jited_line_info_rec_size, nr_prog_tags;
    u64 prog_tags, run_time_ns, run_cnt, recursion_misses;
    u32 verified_insns, attach_btf_obj_id, attach_btf_id
    """
)
"""`gpl_compatible` is bit 0 of its word."""

MAP_INFO = Layout(
    """
    u32 type, id, key_size, value_size, max_entries, map_flags;
    char[16] name;
    u32 ifindex, btf_vmlinux_value_type_id;
    u64 netns_dev, netns_ino;
    u32 btf_id, btf_key_type_id, btf_value_type_id, btf_vmlinux_id;
    u64 map_extra
    """
)

BTF_INFO = Layout("u64 btf; u32 btf_size, id; u64 name; u32 name_len, kernel_btf")

LINK_INFO = Layout("u32 type, id, prog_id")
"""What all links tell; at 16 begins a union that the link's type decides."""

LINK_INFO_SIZE = 64
"""Bytes of the whole union, so that one buffer takes any link's."""

LINK_RAW_TRACEPOINT = Layout("u32 type, id, prog_id; u64 tp_name; u32 tp_name_len; u64 cookie")

LINK_TRACING = Layout(
    "u32 type, id, prog_id, pad, attach_type, target_obj_id, target_btf_id; u64 cookie"
)

LINK_CGROUP = Layout("u32 type, id, prog_id; u64 cgroup_id; u32 attach_type")

LINK_NETNS = Layout("u32 type, id, prog_id, pad, netns_ino, attach_type")

LINK_XDP = Layout("u32 type, id, prog_id, pad, ifindex")

LINK_PERF_EVENT = Layout("u32 type, id, prog_id, pad, perf_type")

LINK_PERF_UPROBE = Layout(
    """
    u32 type, id, prog_id, pad, perf_type;
    u64 file_name;
    u32 name_len, offset;
    u64 cookie, ref_ctr_offset
    """
)

LINK_PERF_KPROBE = Layout(
    """
    u32 type, id, prog_id, pad, perf_type;
    u64 func_name;
    u32 name_len, offset;
    u64 addr, missed, cookie
    """
)

LINK_PERF_TRACEPOINT = Layout(
    "u32 type, id, prog_id, pad, perf_type; u64 tp_name; u32 name_len; u64 cookie"
)

LINK_PERF_HARDWARE = Layout(
    "u32 type, id, prog_id, pad, perf_type; u64 config; u32 event_type; u64 cookie"
)
