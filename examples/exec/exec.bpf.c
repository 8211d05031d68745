/* SPDX-License-Identifier: MIT */
/* One event when a process executes a program, and one when the process ends. Needs Linux 5.8. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpfstream.h>

/* The kernel's structs, only what we read of them: CO-RE finds where it is on the kernel at hand. */
struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	__u64 start_time; /* CLOCK_MONOTONIC */
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

struct linux_binprm {
	const char *filename;
} __attribute__((preserve_access_index));

enum event_kind { EXEC, EXIT };

struct event {
	enum event_kind kind;
	__u32 pid;
	__u32 ppid;
	__u32 uid;
	__u64 duration_ns; /* EXIT: since the process was forked */
	__s32 exit_code;   /* EXIT: as wait(2) gives it */
	char comm[16];
	char filename[256]; /* EXEC */
};

BPFSTREAM_RING(events, struct event, 256 * 1024);

static __always_inline void fill(struct event *event, enum event_kind kind, struct task_struct *task)
{
	event->kind = kind;
	event->pid = task->tgid;
	event->ppid = task->real_parent->tgid;
	event->uid = bpf_get_current_uid_gid();
	event->duration_ns = 0;
	event->exit_code = 0;
	event->filename[0] = 0;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *binary)
{
	struct event *event = bpfstream_reserve(events);

	if (!event)
		return 0;
	fill(event, EXEC, task);
	bpf_probe_read_kernel_str(event->filename, sizeof(event->filename), binary->filename);
	bpfstream_submit(event);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct event *event;

	if (task->pid != task->tgid) /* a thread ends, not the process */
		return 0;
	event = bpfstream_reserve(events);
	if (!event)
		return 0;
	fill(event, EXIT, task);
	event->duration_ns = bpf_ktime_get_ns() - task->start_time;
	event->exit_code = task->exit_code;
	bpfstream_submit(event);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
