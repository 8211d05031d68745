/* SPDX-License-Identifier: MIT */
/*
 * One event for each TCP connection over IPv4 that this machine begins.
 *
 * The same by kprobe and by fentry; load one of the two programs. fentry costs less and gives typed
 * arguments, but needs the kernel's BTF and a kernel that allows it. The kprobe reads registers: the
 * object beside this file is for x86-64. Needs Linux 5.8.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include <bpfstream.h>

#define AF_INET 2

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct event {
	__u32 pid;
	__u32 uid;
	__u8 source[4];
	__u8 destination[4];
	__u16 source_port;
	__u16 destination_port;
	char comm[16];
};

BPFSTREAM_RING(events, struct event, 256 * 1024);

/* tcp_connect() runs when the addresses are chosen and before the first packet is sent. */
static __always_inline int on_connect(struct sock *sock)
{
	struct event *event;
	__u32 address;

	if (BPF_CORE_READ(sock, __sk_common.skc_family) != AF_INET)
		return 0;
	event = bpfstream_reserve(events);
	if (!event)
		return 0;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = bpf_get_current_uid_gid();
	address = BPF_CORE_READ(sock, __sk_common.skc_rcv_saddr);
	__builtin_memcpy(event->source, &address, sizeof(address));
	address = BPF_CORE_READ(sock, __sk_common.skc_daddr);
	__builtin_memcpy(event->destination, &address, sizeof(address));
	event->source_port = BPF_CORE_READ(sock, __sk_common.skc_num);
	event->destination_port = bpf_ntohs(BPF_CORE_READ(sock, __sk_common.skc_dport));
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpfstream_submit(event);
	return 0;
}

SEC("kprobe/tcp_connect")
int BPF_KPROBE(by_kprobe, struct sock *sock)
{
	return on_connect(sock);
}

SEC("fentry/tcp_connect")
int BPF_PROG(by_fentry, struct sock *sock)
{
	return on_connect(sock);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
