/* SPDX-License-Identifier: MIT */
/* Global variables of every section and type; `sum` uses each so that none is optimised away. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

enum mode { QUIET, LOUD = 7, NEGATIVE = -1 };

struct limits {
	__u32 low;
	__s64 high;
	char name[8];
};

union word {
	__u32 number;
	__u8 bytes[4];
};

const volatile bool enabled = true;
const volatile __u8 tiny = 1;
const volatile __s16 small = -2;
const volatile __u32 min_us = 100;
const volatile __s64 large = -4000000000LL;
const volatile __u64 mask = 0xfedcba9876543210ULL;
const volatile enum mode mode = LOUD;
const volatile char prefix[16] = "hello";
const volatile __u32 ports[4] = { 22, 80, 443 };
const volatile struct limits limits = { .low = 5, .high = -6, .name = "limit" };

__u64 counter = 10;
enum mode current_mode = NEGATIVE;
char label[8] = "label";

__u64 hits;
__u32 table[3];
struct limits measured;
union word word;
static __u64 private_hits; /* not for users: no symbol outside */

__u32 sampled SEC(".data.sampling") = 3;
const volatile __u32 threshold SEC(".rodata.tuning") = 4;
__u64 scratch SEC(".bss.scratch");

SEC("raw_tp/sys_enter")
int sum(void *ctx)
{
	__u64 total = enabled + tiny + small + min_us + large + mask + mode + prefix[0] + ports[1] +
		      limits.low + limits.high + limits.name[0];

	counter++;
	hits += total;
	private_hits++;
	table[1] = current_mode;
	measured.low = label[0];
	measured.high = -1;
	word.number = sampled + threshold;
	scratch = private_hits;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
__u32 _version SEC("version") = 0x00050a00; /* 5.10: old kernels compared it for kprobes */
