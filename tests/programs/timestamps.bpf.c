/* SPDX-License-Identifier: MIT */
/*
 * Events with timestamps, through two ring buffers in turn or through a perf buffer: what has to be
 * put in order. PROG_TEST_RUN runs the programs, with the producer and a number of events.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpfstream.h>

#define LONGEST_BURST 256

struct event {
	__u64 timestamp;
	__u64 boottime;
	__u32 producer;
	__u32 cpu;
};

BPFSTREAM_RING(even, struct event, 4 * 1024 * 1024);
BPFSTREAM_RING(odd, struct event, 4 * 1024 * 1024);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, struct event);
} perf SEC(".maps");

static __always_inline void fill(struct event *event, __u32 producer)
{
	event->boottime = bpf_ktime_get_boot_ns();
	event->timestamp = bpf_ktime_get_ns();
	event->producer = producer;
	event->cpu = bpf_get_smp_processor_id();
}

#define RESERVE_FILL_AND_SUBMIT(ring, producer)                 \
	({                                                      \
		struct event *event = bpfstream_reserve(ring);  \
		if (event) {                                    \
			fill(event, producer);                  \
			bpfstream_submit(event);                \
		}                                               \
	})

SEC("raw_tp")
int to_rings(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 count = ctx->args[1];

	for (int i = 0; i < LONGEST_BURST / 2 && 2 * i < count; i++) {
		RESERVE_FILL_AND_SUBMIT(even, ctx->args[0]);
		RESERVE_FILL_AND_SUBMIT(odd, ctx->args[0]);
	}
	return 0;
}

SEC("raw_tp")
int to_perf(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 count = ctx->args[1];

	for (int i = 0; i < LONGEST_BURST && i < count; i++) {
		struct event event;

		fill(&event, ctx->args[0]);
		bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
