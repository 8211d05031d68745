/* SPDX-License-Identifier: MIT */
/*
 * A producer for perf buffer tests, the counterpart of ring_producer.bpf.c: for each producer
 *     attempts = submitted + refused
 *     submitted = what the reader received
 * where `refused` is what the kernel had no space for and reports as LOST records.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PRODUCERS 128
#define FIRST_CPU_PRODUCER 64 /* producers 0 to 63 are callers' own, 64 + n is CPU n */
#define LONGEST_BURST 256
#define WORDS 45 /* with less stack left, older verifiers refuse it */

struct record {
	__u64 sequence;
	__u32 producer;
	__u32 words; /* of the payload that follows */
};

struct longest_record {
	struct record record;
	__u64 payload[WORDS];
};

struct tally {
	__u64 attempts; /* the next sequence number */
	__u64 submitted;
	__u64 refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, struct record); /* what the buffers carry; the kernel's value is an fd */
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PRODUCERS);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

const volatile __u32 target_pid = 0;    /* 0: the program on_syscall does nothing */
const volatile __s64 only_syscall = -1; /* -1: every system call of that process */
__u32 burst = 1;                        /* records a system call */

/*
 * 0, or a negative errno: ENOENT where nobody reads this CPU's buffer, ENOSPC where it is full.
 * A global function: the verifier walks it once, and not once for every turn of the loop.
 */
__attribute__((noinline)) int output(struct bpf_raw_tracepoint_args *ctx, __u32 producer,
				     __u64 sequence)
{
	struct longest_record event;
	__u64 mark = (__u64)producer << 56 ^ sequence;
	__u64 mix = (sequence * 0x9e3779b97f4a7c15ULL) >> 60;
	__u64 words = mix < 8 ? 1 : mix < 13 ? 8 : WORDS;

	event.record.sequence = sequence;
	event.record.producer = producer;
	event.record.words = words;
	_Pragma("unroll") for (int i = 0; i < WORDS; i++) event.payload[i] = mark;
	return bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event,
				     sizeof(event.record) + words * sizeof(__u64));
}

static __always_inline int produce_burst(struct bpf_raw_tracepoint_args *ctx, __u32 producer,
					 __u32 count)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &producer);

	if (!tally)
		return 1;
	for (int i = 0; i < LONGEST_BURST && i < count; i++) {
		if (output(ctx, producer, tally->attempts++))
			tally->refused++;
		else
			tally->submitted++;
	}
	return 0;
}

/* Run by PROG_TEST_RUN: the first argument is the producer, the second the number of records. */
SEC("raw_tp")
int produce(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[0] >= FIRST_CPU_PRODUCER)
		return 1;
	return produce_burst(ctx, ctx->args[0], ctx->args[1]);
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	if (only_syscall >= 0 && ctx->args[1] != only_syscall)
		return 0;
	produce_burst(ctx, FIRST_CPU_PRODUCER + bpf_get_smp_processor_id(), burst);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
