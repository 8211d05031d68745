/* SPDX-License-Identifier: MIT */
/*
 * A producer for ring buffer tests: whatever becomes of a record, its sequence number shows it.
 *
 * Every attempt takes the producer's next sequence number. So, for one producer or for all,
 *     attempts = received + discarded + lost
 * where `tallies` counts attempts and discards, `events_lost` losses. The payload repeats a value
 * made from producer and sequence: a torn record can't go unseen.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpfstream.h>

#define PRODUCERS 128
#define FIRST_CPU_PRODUCER 64 /* producers 0 to 63 are callers' own, 64 + n is CPU n */
#define LONGEST_BURST 256

enum shape { SHORT = 0, MEDIUM = 1, LONG = 2 };

struct record {
	__u64 sequence;
	__u32 producer;
	__u32 words; /* of the payload that follows */
};

struct short_record {
	struct record record;
	__u64 payload[1];
};

struct medium_record {
	struct record record;
	__u64 payload[8];
};

struct long_record {
	struct record record;
	__u64 payload[61];
};

struct tally {
	__u64 attempts; /* the next sequence number */
	__u64 submitted;
	__u64 discarded;
};

/* What the test hands to PROG_TEST_RUN of `produce`. */
struct request {
	__u32 producer;      /* below FIRST_CPU_PRODUCER; one thread at a time each */
	__u32 count;         /* records, at most LONGEST_BURST */
	__u32 discard_every; /* discard each sequence number that this divides; 0: none */
	__u32 wakeup_flags;  /* of bpf_ringbuf_submit: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP */
};

BPFSTREAM_RING(events, struct record, 64 * 1024);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PRODUCERS);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

const volatile __u32 target_pid = 0;    /* 0: the program on_syscall does nothing */
const volatile __s64 only_syscall = -1; /* -1: every system call of that process */
__u32 burst = 1;                        /* records a system call */
__u32 discard_every = 0;
__u32 wakeup_flags = 0;

#define FILL_AND_COMMIT(type)                                                                      \
	({                                                                                         \
		type *event = bpfstream_reserve_as(events, type);                                  \
		if (!event)                                                                        \
			return 0;                                                                  \
		event->record.sequence = sequence;                                                 \
		event->record.producer = producer;                                                 \
		event->record.words = sizeof(event->payload) / sizeof(__u64);                      \
		_Pragma("unroll") for (int i = 0; i < sizeof(event->payload) / sizeof(__u64); i++) \
			event->payload[i] = mark;                                                  \
		if (discard)                                                                       \
			bpf_ringbuf_discard(event, flags);                                         \
		else                                                                               \
			bpf_ringbuf_submit(event, flags);                                          \
	})

/* A global function: the verifier walks it once, and not once for every turn of the loop. */
__attribute__((noinline)) int commit(__u32 producer, __u64 sequence, __u32 discard, __u64 flags)
{
	__u64 mark = (__u64)producer << 56 ^ sequence;
	__u64 mix = (sequence * 0x9e3779b97f4a7c15ULL) >> 60;

	if (mix < 8)
		FILL_AND_COMMIT(struct short_record);
	else if (mix < 13)
		FILL_AND_COMMIT(struct medium_record);
	else
		FILL_AND_COMMIT(struct long_record);
	return 1;
}

static __always_inline int produce_burst(__u32 producer, __u32 count, __u32 every, __u64 flags)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &producer);

	if (!tally)
		return 1;
	for (int i = 0; i < LONGEST_BURST && i < count; i++) {
		__u64 sequence = tally->attempts++;
		__u32 discard = every && sequence % every == 0;

		if (!commit(producer, sequence, discard, flags))
			continue;
		if (discard)
			tally->discarded++;
		else
			tally->submitted++;
	}
	return 0;
}

SEC("syscall")
int produce(struct request *request)
{
	if (request->producer >= FIRST_CPU_PRODUCER)
		return 1;
	return produce_burst(request->producer, request->count, request->discard_every,
			     request->wakeup_flags);
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	if (only_syscall >= 0 && ctx->args[1] != only_syscall)
		return 0;
	produce_burst(FIRST_CPU_PRODUCER + bpf_get_smp_processor_id(), burst, discard_every,
		      wakeup_flags);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
