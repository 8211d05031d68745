/* SPDX-License-Identifier: MIT */
/* Each form of map definition that a `.maps` section knows. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 pid;
	__u32 cpu;
};

struct counts {
	__u64 calls;
	__u64 bytes;
};

/* With types: BTF for keys and values. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, struct key);
	__type(value, struct counts);
} typed SEC(".maps");

/* With sizes only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32);
	__uint(numa_node, 0);
	__uint(map_flags, BPF_F_NUMA_NODE);
	__type(key, __u32);
	__type(value, __u64);
} on_node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} pinned SEC(".maps");

/* No size: something that a user sets before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
} unsized_array SEC(".maps");

/* An inner map of its own, and outer maps that hold it: by declaration and by initial value. */
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first_inner SEC(".maps"), second_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct inner);
} outer_array SEC(".maps") = {
	.values = { [0] = &first_inner, [2] = &second_inner },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 8);
		__type(key, __u32);
		__type(value, __u32);
	});
} outer_hash SEC(".maps");

int second_stage(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = { [1] = (void *)&second_stage },
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(key_size, 8);
	__uint(value_size, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 127 * sizeof(__u64));
} stacks SEC(".maps");

SEC("raw_tp/sys_enter")
int first_stage(void *ctx)
{
	struct key key = { .pid = bpf_get_current_pid_tgid() >> 32 };
	struct counts *counts = bpf_map_lookup_elem(&typed, &key);
	__u32 slot = 0, small_key = 1;
	__u64 one = 1, *value;
	void *inner;

	if (counts)
		__sync_fetch_and_add(&counts->calls, 1);
	else
		bpf_map_update_elem(&typed, &key, &(struct counts){ .calls = 1 }, BPF_ANY);
	bpf_map_update_elem(&sized, &small_key, &one, BPF_ANY);
	bpf_map_update_elem(&per_cpu, &small_key, &one, BPF_ANY);
	bpf_map_update_elem(&on_node, &small_key, &one, BPF_ANY);
	bpf_map_push_elem(&queue, &small_key, BPF_EXIST);
	inner = bpf_map_lookup_elem(&outer_array, &slot);
	if (inner) {
		value = bpf_map_lookup_elem(inner, &slot);
		if (value)
			__sync_fetch_and_add(value, 1);
	}
	inner = bpf_map_lookup_elem(&outer_hash, &slot);
	if (inner)
		bpf_map_lookup_elem(inner, &slot);
	bpf_tail_call(ctx, &stages, 1);
	return 0;
}

SEC("raw_tp/sys_enter")
int second_stage(void *ctx)
{
	__u32 slot = 0;
	__u64 *value = bpf_map_lookup_elem(&pinned, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
	value = bpf_map_lookup_elem(&unsized_array, &slot);
	if (value)
		__sync_fetch_and_add(value, 1);
	bpf_get_stackid(ctx, &stacks, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
