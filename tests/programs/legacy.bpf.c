/* SPDX-License-Identifier: MIT */
/* Maps as they were defined before BTF: fixed records in a section named `maps`, here of 28 bytes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct map_definition {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
	unsigned int extra[2]; /* some loaders' own: to be ignored while zero */
};

struct map_definition SEC("maps") counts = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 16,
	.map_flags = BPF_F_NO_PREALLOC,
};

struct map_definition SEC("maps") totals = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 1,
};

SEC("raw_tracepoint/sys_enter")
int count(void *ctx)
{
	__u32 slot = 0, pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *value = bpf_map_lookup_elem(&totals, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
	bpf_map_update_elem(&counts, &pid, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
