/* SPDX-License-Identifier: MIT */
/*
 * bpfstream.h: event rings that carry one struct and count what they lose.
 *
 *     #include <linux/bpf.h>            (or vmlinux.h)
 *     #include <bpf/bpf_helpers.h>
 *     #include <bpfstream.h>            (in the folder that bpfstream.include_dir() gives)
 *
 *     struct event {
 *             __u32 pid;
 *             char comm[16];
 *     };
 *
 *     BPFSTREAM_RING(events, struct event, 256 * 1024);
 *
 *     SEC("tp_btf/sched_process_exit")
 *     int on_exit(void *ctx)
 *     {
 *             struct event *event = bpfstream_reserve(events);
 *             if (!event)
 *                     return 0;         (no space: the loss is counted already)
 *             event->pid = bpf_get_current_pid_tgid() >> 32;
 *             bpf_get_current_comm(event->comm, sizeof(event->comm));
 *             bpfstream_submit(event);
 *             return 0;
 *     }
 *
 * Every record asked for is then submitted, discarded or counted as lost; bpfstream adds the
 * counter to the statistics of the stream that reads the ring. The maps are ordinary ones, so that
 * libbpf and others load such an object as it is. Ring buffers need Linux 5.8.
 */
#ifndef BPFSTREAM_H
#define BPFSTREAM_H

/*
 * BPFSTREAM_RING(name, event_type, bytes) declares, at file scope,
 *
 *   - the ring buffer `name` of `bytes` bytes, a power of two and a multiple of the page size;
 *   - the per-CPU array `name_lost` with one entry: how many records the ring had no space for.
 *
 * `event_type` is the struct that the ring carries. The array's value type ends with a zero-length
 * array of it: that takes no space, and tells the reader the struct through BTF, which would
 * otherwise leave out a type that only local variables use.
 */
#define BPFSTREAM_RING(name, event_type, bytes)                                                    \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, bytes);                                                        \
	} name SEC(".maps");                                                                       \
	struct name##_loss {                                                                       \
		__u64 lost;                                                                        \
		event_type event[0];                                                               \
	};                                                                                         \
	_Static_assert(sizeof(struct name##_loss) == sizeof(__u64),                                \
		       #event_type " needs an alignment of more than 8 bytes");                    \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct name##_loss);                                                 \
	} name##_lost SEC(".maps")

/*
 * bpfstream_reserve(name) gives space for one event of the ring's type, or NULL when there is none;
 * then the loss has been counted. What it gives must go to bpfstream_submit or bpfstream_discard
 * (or to bpf_ringbuf_submit itself, for its flags) on every path. The space is not zeroed: set
 * every member.
 */
#define bpfstream_reserve(name)                                                                    \
	((typeof(&((struct name##_loss *)0)->event[0]))bpfstream_reserve_bytes(                    \
		&name, &name##_lost, sizeof(((struct name##_loss *)0)->event[0])))

/*
 * bpfstream_reserve_as(name, other_type): the same for a struct other than the ring's own, where
 * several share one ring and a member tells them apart.
 */
#define bpfstream_reserve_as(name, other_type)                                                     \
	((other_type *)bpfstream_reserve_bytes(&name, &name##_lost, sizeof(other_type)))

/* bpfstream_submit(event) hands a reserved event to the reader. */
#define bpfstream_submit(event) bpf_ringbuf_submit(event, 0)

/* bpfstream_discard(event) gives a reserved event up: never seen by the reader, and no loss. */
#define bpfstream_discard(event) bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP)

/*
 * bpfstream_output(name, pointer) copies the whole struct that `pointer` points to into the ring:
 * 0, or a negative errno when there was no space; then the loss has been counted.
 */
#define bpfstream_output(name, pointer)                                                            \
	bpfstream_output_bytes(&name, &name##_lost, pointer, sizeof(*(pointer)))

/* What follows is machinery of the macros above. */

/*
 * Atomic although the counter is this CPU's own: a program may be interrupted between load and
 * store by another one on the same CPU, from an interrupt, an NMI or (where programs can be
 * preempted) another task.
 */
static inline __attribute__((always_inline, unused)) void bpfstream_count_loss(void *losses)
{
	__u32 only_entry = 0;
	__u64 *lost = bpf_map_lookup_elem(losses, &only_entry);

	if (lost)
		__sync_fetch_and_add(lost, 1);
}

static inline __attribute__((always_inline, unused)) void *
bpfstream_reserve_bytes(void *ring, void *losses, __u64 size)
{
	void *record = bpf_ringbuf_reserve(ring, size, 0);

	if (!record)
		bpfstream_count_loss(losses);
	return record;
}

static inline __attribute__((always_inline, unused)) long
bpfstream_output_bytes(void *ring, void *losses, void *data, __u64 size)
{
	long error = bpf_ringbuf_output(ring, data, size, 0);

	if (error)
		bpfstream_count_loss(losses);
	return error;
}

#endif /* BPFSTREAM_H */
