/* SPDX-License-Identifier: MIT */
/* Subprograms: static and global, called from several programs and from each other, and callbacks. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __noinline __attribute__((noinline))

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

__u64 results[4];
const volatile __u32 turns = 5;

static __noinline __u64 add_three(__u64 value)
{
	return value + 3 + turns;
}

/* Global: verified on its own, with any argument. */
__noinline int twice(__u32 value)
{
	return add_three(value) * 2;
}

static __noinline __u64 deep(__u64 value)
{
	return twice(value) + add_three(value);
}

/* For bpf_for_each_map_elem, which takes the function's address (Linux 5.13). */
static long add_value(void *map, __u32 *key, __u64 *value, __u64 *total)
{
	*total += *value;
	return 0;
}

/* For bpf_loop (Linux 5.17). */
static long count_turn(__u32 turn, __u64 *total)
{
	*total += turn;
	return 0;
}

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	results[0] = deep(1);
	return 0;
}

SEC("raw_tp/sys_exit")
int on_exit(void *ctx)
{
	results[1] = twice(2);
	return 0;
}

SEC("raw_tp/sys_exit")
int for_each(void *ctx)
{
	__u64 total = 0;

	bpf_for_each_map_elem(&values, add_value, &total, 0);
	results[2] = total;
	return 0;
}

SEC("raw_tp/sys_exit")
int loop(void *ctx)
{
	__u64 total = 0;

	bpf_loop(turns, count_turn, &total, 0);
	results[3] = total;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
