/* SPDX-License-Identifier: MIT */
/* Sends one record of any size up to 128 KiB through a perf event array. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define LARGEST (128 * 1024)

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct record {
	__u8 bytes[LARGEST];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} record SEC(".maps");

long result; /* of the last bpf_perf_event_output */

/* Run by PROG_TEST_RUN: the first argument is the size, the second is what each byte is. */
SEC("raw_tp")
int send(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 only_entry = 0;
	struct record *value = bpf_map_lookup_elem(&record, &only_entry);
	__u64 size = ctx->args[0];

	if (!value || size > LARGEST)
		return 1;
	value->bytes[0] = ctx->args[1];
	result = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, value, size);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
