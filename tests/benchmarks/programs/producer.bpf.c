/* SPDX-License-Identifier: MIT */
/*
 * What every consumer of the benchmarks reads. PROG_TEST_RUN of one of the programs sends events of
 * one size through one of the buffers: the context's arguments are the first event's value and how
 * many events there are. Every run leaves in `tallies` what became of them.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "events.h"

struct tally {
	__u64 sent;
	__u64 lost; /* no space */
	__u64 sum;  /* of the values of those that were sent */
};

struct burst {
	struct bpf_raw_tracepoint_args *ctx;
	struct tally *tally;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct event_48 *unused_event_48; /* puts the structs into the object's BTF */
struct event_128 *unused_event_128;

#define COMM ((const char[16]){ "worker-a" })
#define FILENAME ((const char[64]){ "/usr/lib/python3.11/site-packages/package/aa.so" })

/* Both structs begin alike; numbers and strings vary a little, as they do in life. */
#define FILL(event, number)                                               \
	({                                                                \
		(event)->timestamp = bpf_ktime_get_ns();                  \
		(event)->cgroup = 4000 + ((number) & 15);                 \
		(event)->pid = 100000 + ((number) & 1023);                \
		(event)->tid = 100001 + ((number) & 1023);                \
		(event)->value = number;                                  \
		__builtin_memcpy((event)->comm, COMM, sizeof(COMM));      \
		(event)->comm[7] = 'a' + ((number) & 15);                 \
	})

#define FILL_MORE(event, number)                                          \
	({                                                                \
		(event)->ppid = 90000 + ((number) & 63);                  \
		(event)->uid = 1000 + ((number) & 3);                     \
		(event)->duration = 1000000 + (number);                   \
		__builtin_memcpy((event)->filename, FILENAME, sizeof(FILENAME)); \
		(event)->filename[42] = 'a' + ((number) & 15);            \
		(event)->filename[43] = 'a' + ((number) >> 4 & 15);       \
	})

static __always_inline long count(struct tally *tally, __u64 value, long error)
{
	if (error) {
		tally->lost++;
	} else {
		tally->sent++;
		tally->sum += value;
	}
	return 0;
}

static long send_ring_48(__u32 index, struct burst *burst)
{
	__u64 value = burst->ctx->args[0] + index;
	struct event_48 *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (event) {
		FILL(event, value);
		bpf_ringbuf_submit(event, 0);
	}
	return count(burst->tally, value, !event);
}

static long send_ring_128(__u32 index, struct burst *burst)
{
	__u64 value = burst->ctx->args[0] + index;
	struct event_128 *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (event) {
		FILL(event, value);
		FILL_MORE(event, value);
		bpf_ringbuf_submit(event, 0);
	}
	return count(burst->tally, value, !event);
}

static long send_perf_48(__u32 index, struct burst *burst)
{
	__u64 value = burst->ctx->args[0] + index;
	struct event_48 event;

	FILL(&event, value);
	return count(burst->tally, value,
		     bpf_perf_event_output(burst->ctx, &perf, BPF_F_CURRENT_CPU, &event,
					   sizeof(event)));
}

static long send_perf_128(__u32 index, struct burst *burst)
{
	__u64 value = burst->ctx->args[0] + index;
	struct event_128 event;

	FILL(&event, value);
	FILL_MORE(&event, value);
	return count(burst->tally, value,
		     bpf_perf_event_output(burst->ctx, &perf, BPF_F_CURRENT_CPU, &event,
					   sizeof(event)));
}

#define PRODUCER(name, send)                                              \
	SEC("raw_tp")                                                     \
	int name(struct bpf_raw_tracepoint_args *ctx)                     \
	{                                                                 \
		__u32 only_entry = 0;                                     \
		struct tally *tally = bpf_map_lookup_elem(&tallies, &only_entry); \
		struct burst burst = { ctx, tally };                      \
                                                                          \
		if (tally)                                                \
			bpf_loop(ctx->args[1], send, &burst, 0);          \
		return 0;                                                 \
	}

PRODUCER(ring_48, send_ring_48)
PRODUCER(ring_128, send_ring_128)
PRODUCER(perf_48, send_perf_48)
PRODUCER(perf_128, send_perf_128)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
