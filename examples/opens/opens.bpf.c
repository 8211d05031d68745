/* SPDX-License-Identifier: MIT */
/* One event for each file that is opened, with its result. Needs Linux 5.8. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpfstream.h>

/* What the kernel hands to programs on system call tracepoints: see their `format` in tracefs. */
struct sys_enter_context {
	__u64 common;
	__s64 number;
	__u64 arguments[6];
};

struct sys_exit_context {
	__u64 common;
	__s64 number;
	__s64 result;
};

struct event {
	__u32 pid;
	__u32 uid;
	__s32 result; /* a file descriptor, or a negative errno */
	__u32 flags;
	char comm[16];
	char path[256];
};

struct call {
	__u64 path; /* an address in the process */
	__u32 flags;
};

BPFSTREAM_RING(events, struct event, 256 * 1024);

/* By thread: calls that have begun and not ended. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct call);
} calls SEC(".maps");

const volatile __u32 only_uid = -1;
const volatile _Bool only_failed = 0;

SEC("tracepoint/syscalls/sys_enter_openat")
int on_enter(struct sys_enter_context *ctx)
{
	struct call call = { .path = ctx->arguments[1], .flags = ctx->arguments[2] };
	__u32 thread = bpf_get_current_pid_tgid(), uid = bpf_get_current_uid_gid();

	if (only_uid == (__u32)-1 || uid == only_uid)
		bpf_map_update_elem(&calls, &thread, &call, BPF_ANY);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_openat")
int on_exit(struct sys_exit_context *ctx)
{
	__u64 process_and_thread = bpf_get_current_pid_tgid();
	__u32 thread = process_and_thread;
	struct call *call = bpf_map_lookup_elem(&calls, &thread);
	struct event *event;

	if (!call)
		return 0;
	if (only_failed && ctx->result >= 0)
		goto out;
	event = bpfstream_reserve(events);
	if (!event)
		goto out;
	event->pid = process_and_thread >> 32;
	event->uid = bpf_get_current_uid_gid();
	event->result = ctx->result;
	event->flags = call->flags;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	/* At exit: by now the kernel has brought the path's page into memory. */
	if (bpf_probe_read_user_str(event->path, sizeof(event->path), (void *)call->path) < 0)
		event->path[0] = 0;
	bpfstream_submit(event);
out:
	bpf_map_delete_elem(&calls, &thread);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
