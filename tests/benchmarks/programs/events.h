/* SPDX-License-Identifier: MIT */
/* The events of the benchmarks, for the program that sends them and for consumers in C. */
#ifndef EVENTS_H
#define EVENTS_H

#include <linux/types.h>

/* What many tracing programs send of a process: 48 bytes without padding. */
struct event_48 {
	__u64 timestamp; /* CLOCK_MONOTONIC, ns */
	__u64 cgroup;
	__u32 pid;
	__u32 tid;
	__u64 value; /* 1, 2, 3 ...; 0 ends a run */
	char comm[16];
};

/* The same and what it did to a file: 128 bytes, half of them a string. */
struct event_128 {
	__u64 timestamp;
	__u64 cgroup;
	__u32 pid;
	__u32 tid;
	__u64 value;
	char comm[16];
	__u32 ppid;
	__u32 uid;
	__u64 duration;
	char filename[64];
};

_Static_assert(sizeof(struct event_48) == 48, "48 bytes");
_Static_assert(sizeof(struct event_128) == 128, "128 bytes");

#endif
