/* SPDX-License-Identifier: MIT */
/* The hash map of the map benchmark; no program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

char LICENSE[] SEC("license") = "Dual MIT/GPL";
