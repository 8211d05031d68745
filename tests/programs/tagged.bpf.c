/* SPDX-License-Identifier: MIT */
/* Two structs on one ring; their first member tells them apart. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpfstream.h>

enum event_kind { ENTERED = 1, LEFT = 2 };

struct entered_event {
	enum event_kind kind;
	__u32 pid;
	__s64 syscall;
};

struct left_event {
	enum event_kind kind;
	__u32 pid;
	__s64 result;
	char comm[16];
};

BPFSTREAM_RING(events, struct entered_event, 64 * 1024);

/* Only local variables use it otherwise, and those leave no trace in BTF. */
struct left_event *unused_left_event;

const volatile __u32 target_pid = 0;

SEC("raw_tp/sys_enter")
int on_enter(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct entered_event *event;

	if (pid != target_pid)
		return 0;
	event = bpfstream_reserve(events);
	if (!event)
		return 0;
	event->kind = ENTERED;
	event->pid = pid;
	event->syscall = ctx->args[1];
	bpfstream_submit(event);
	return 0;
}

SEC("raw_tp/sys_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct left_event *event;

	if (pid != target_pid)
		return 0;
	event = bpfstream_reserve_as(events, struct left_event);
	if (!event)
		return 0;
	event->kind = LEFT;
	event->pid = pid;
	event->result = ctx->args[1];
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpfstream_submit(event);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
