/* SPDX-License-Identifier: MIT */
/*
 * What the kernel provides by name: values of its configuration, addresses, variables, functions;
 * those that a kernel may lack are weak.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;
extern bool LINUX_UNHEARD_OF __kconfig __weak;
extern int CONFIG_HZ __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_VETH __kconfig __weak;
extern char CONFIG_LOCALVERSION[16] __kconfig __weak;
extern char CONFIG_UNHEARD_OF __kconfig __weak;

extern const void vfs_read __ksym;
extern const void no_such_symbol __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;

long total;

SEC("raw_tp/sched_switch")
int configuration(void *context)
{
	total += LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_VETH;
	total += LINUX_HAS_SYSCALL_WRAPPER + LINUX_HAS_BPF_COOKIE + LINUX_UNHEARD_OF;
	total += CONFIG_BPF_SYSCALL + CONFIG_LOCALVERSION[1] + CONFIG_UNHEARD_OF;
	return 0;
}

SEC("raw_tp/sched_switch")
int addresses(void *context)
{
	total += (long)&vfs_read + (long)&no_such_symbol;
	return 0;
}

SEC("tp_btf/sched_switch")
int variables(void *context)
{
	if (&no_such_variable)
		total += 1;
	return 0;
}

SEC("tp_btf/sched_switch")
int functions(void *context)
{
	bpf_rcu_read_lock();
	total += 1;
	bpf_rcu_read_unlock();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
