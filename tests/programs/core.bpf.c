/* SPDX-License-Identifier: MIT */
/*
 * CO-RE relocations of every kind that clang 14 makes, against kernel structs of which we define
 * only the members used: present and missing ones, flavours, enum values, bitfields, sizes.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define __kernel __attribute__((preserve_access_index))

struct upid {
	int nr;
} __kernel;

struct pid {
	unsigned int level;
	struct upid numbers[1];
} __kernel;

struct mm_struct {
	unsigned long arg_start;
} __kernel;

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct mm_struct *mm;
	unsigned in_execve : 1; /* a bitfield of the kernel's */
	unsigned sched_reset_on_fork : 1;
} __kernel;

/* Flavours: what follows the three underscores is not part of the name. */
struct task_struct___new {
	unsigned int __state;
} __kernel;

struct task_struct___old {
	long state;
} __kernel;

struct task_struct___imaginary {
	int a_field_that_no_kernel_has;
} __kernel;

struct a_struct_that_no_kernel_has {
	int member;
} __kernel;

/* Values of our own, to be replaced by the kernel's. */
enum bpf_map_type___local { BPF_MAP_TYPE_HASH___local = 77, BPF_MAP_TYPE_NONE___local = 78 };

struct seen {
	int pid;
	int parent;
	int number_in_namespace;
	__u64 in_execve;
	__u64 reset_on_fork;
	__u64 state;
	bool has_state;
	bool has_imaginary_field;
	bool has_imaginary_type;
	bool has_task_struct;
	__u32 task_size;
	__u32 comm_size;
	__u32 comm_offset;
	__u64 hash_type;
	bool has_hash_type;
	bool has_missing_value;
	char comm[16];
};

struct seen seen;
const volatile __u32 target_pid = 0;

SEC("raw_tp/sys_enter")
int observe(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	seen.pid = BPF_CORE_READ(task, pid);
	seen.parent = BPF_CORE_READ(task, real_parent, tgid);
	seen.number_in_namespace = BPF_CORE_READ(task, thread_pid, numbers[0].nr);
	seen.in_execve = BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
	seen.reset_on_fork = BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork);
	BPF_CORE_READ_STR_INTO(&seen.comm, task, comm);

	if (bpf_core_field_exists(((struct task_struct___new *)task)->__state)) {
		seen.state = BPF_CORE_READ((struct task_struct___new *)task, __state);
		seen.has_state = true;
	} else if (bpf_core_field_exists(((struct task_struct___old *)task)->state)) {
		seen.state = BPF_CORE_READ((struct task_struct___old *)task, state);
		seen.has_state = true;
	}
	if (bpf_core_field_exists(((struct task_struct___imaginary *)task)->a_field_that_no_kernel_has)) {
		seen.pid = BPF_CORE_READ((struct task_struct___imaginary *)task,
					 a_field_that_no_kernel_has);
		seen.has_imaginary_field = true;
	}
	seen.has_imaginary_type = bpf_core_type_exists(struct a_struct_that_no_kernel_has);
	seen.has_task_struct = bpf_core_type_exists(struct task_struct);
	seen.task_size = bpf_core_type_size(struct task_struct);
	seen.comm_size = bpf_core_field_size(task->comm);
	seen.comm_offset = __builtin_preserve_field_info(task->comm, BPF_FIELD_BYTE_OFFSET);
	seen.has_hash_type =
		bpf_core_enum_value_exists(enum bpf_map_type___local, BPF_MAP_TYPE_HASH___local);
	seen.hash_type = bpf_core_enum_value(enum bpf_map_type___local, BPF_MAP_TYPE_HASH___local);
	seen.has_missing_value =
		bpf_core_enum_value_exists(enum bpf_map_type___local, BPF_MAP_TYPE_NONE___local);
	return 0;
}

/* Reads a field that no kernel has and doesn't ask first: links, and the verifier must refuse it. */
SEC("?raw_tp/sys_enter")
int unguarded(void *ctx)
{
	struct task_struct___imaginary *task = (void *)bpf_get_current_task();

	seen.pid = BPF_CORE_READ(task, a_field_that_no_kernel_has);
	return 0;
}

/* Direct access through a pointer with a BTF type. */
SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (task->tgid == target_pid)
		seen.parent = task->real_parent->tgid;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
