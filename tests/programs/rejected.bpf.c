/* SPDX-License-Identifier: MIT */
/* Programs that every verifier refuses, each for a reason of its own; and one that it takes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

__u64 total;

SEC("raw_tp/sys_enter")
int unchecked_pointer(void *ctx)
{
	__u32 slot = 1;
	__u64 *value = bpf_map_lookup_elem(&values, &slot);

	total += *value;
	return 0;
}

SEC("raw_tp/sys_enter")
int outside_the_value(void *ctx)
{
	__u32 slot = 1;
	__u64 *value = bpf_map_lookup_elem(&values, &slot);

	if (value)
		total += value[2];
	return 0;
}

SEC("raw_tp/sys_enter")
int accepted(void *ctx)
{
	total++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
