/* SPDX-License-Identifier: MIT */
/*
 * A consumer of a user ring buffer: it takes what user space sent, when it is run or at any system
 * call, and keeps the last command and what was wrong with any of them.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* What user space sends; a command may have a payload of `words` words behind it. */
struct command {
	__u64 sequence; /* counts from 0; whoever does not care leaves it 0 */
	__u32 words;
	__u32 threshold;
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct command); /* what the ring carries; the kernel has no value type for it */
} commands SEC(".maps");

struct state {
	__u64 received;
	__u64 out_of_order; /* not the sequence number after the last one */
	__u64 torn;         /* the payload is not its sequence number in each word */
	struct command last;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

static long take(struct bpf_dynptr *record, void *context)
{
	__u32 only_entry = 0;
	struct state *state_now = bpf_map_lookup_elem(&state, &only_entry);
	struct command command;
	__u64 word;

	if (!state_now || bpf_dynptr_read(&command, sizeof(command), record, 0, 0))
		return 1; /* takes no more */
	state_now->received++;
	if (command.sequence && command.sequence != state_now->last.sequence + 1)
		state_now->out_of_order++;
	for (int i = 0; i < 4; i++) {
		__u32 index = command.words * i / 4; /* some of the words will do */

		if (!command.words)
			break;
		if (bpf_dynptr_read(&word, sizeof(word), record,
				    sizeof(command) + index * sizeof(word), 0) ||
		    word != command.sequence)
			state_now->torn++;
	}
	state_now->last = command;
	return 0;
}

struct request {
	__u64 flags; /* of bpf_user_ringbuf_drain: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP */
};

/* Run by PROG_TEST_RUN; returns how many records it took, or a negative errno. */
SEC("syscall")
int drain(struct request *request)
{
	return bpf_user_ringbuf_drain(&commands, take, 0, request->flags);
}

SEC("raw_tp/sys_enter")
int on_syscall(void *context)
{
	bpf_user_ringbuf_drain(&commands, take, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
