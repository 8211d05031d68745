/* SPDX-License-Identifier: MIT */
/*
 * One event with every kind of member that C and BTF know. `emit` fills it with constants, so that
 * a test can compare what it decodes with what stands here.
 */
#include <linux/bpf.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpfstream.h>

typedef _Bool boolean;
typedef __s16 small_number;

enum colour { RED = 1, GREEN = 2, BLUE = -3 };

enum large { LARGE_ONE = 1, LARGE_HIGH = 0x8000000000000001ULL };

struct point {
	__s32 x;
	__s32 y;
};

struct node {
	struct node *next; /* a cycle through a pointer */
	int (*compare)(struct node *, struct node *);
};

union number {
	__u64 whole;
	__u32 halves[2];
	__u8 bytes[8];
};

struct everything {
	__u8 u8;
	__s8 s8;
	char letter;
	boolean truth;
	small_number s16;
	__u16 u16;
	__s32 s32;
	__u32 u32;
	__s64 s64;
	__u64 u64;
	float single;
	double precise;
	enum colour colour;
	enum colour colours[2];
	enum large large;
	struct point point;
	struct point corners[2];
	union number number;
	struct { /* anonymous: its members belong to the struct around it */
		__u32 inner_first;
		union {
			__u32 inner_number;
			__u8 inner_bytes[4];
		};
	};
	char text[12];
	char names[2][8];
	__u8 octets[4];
	__u32 matrix[2][3];
	__u32 flag_low : 1;
	__u32 flag_mid : 5;
	__s32 flag_signed : 7;
	__u32 : 3;
	__u32 flag_high : 16;
	__u64 wide_bits : 40;
	__u64 rest_bits : 24;
	enum colour tint : 4;
	boolean bit : 1;
	void *address;
	const struct node *node;
	volatile __u32 changing;
	__u16 trailing[]; /* as many as the record has room for */
};

struct __attribute__((packed)) packed_event {
	__u8 kind;
	__u64 value; /* not aligned */
	__u16 tail;
};

/* Zeroed space for the event with four trailing numbers: more than a stack frame should hold. */
union room {
	struct everything event;
	__u8 bytes[offsetof(struct everything, trailing) + 4 * sizeof(__u16)];
};

BPFSTREAM_RING(events, struct everything, 4096);
BPFSTREAM_RING(packed_events, struct packed_event, 4096);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union room);
} rooms SEC(".maps");

const volatile __u32 target_pid = 0;
const volatile __u64 one_and_a_half = 0x3ff8000000000000ULL; /* as a double */
const volatile __u32 minus_a_quarter = 0xbe800000;           /* as a float */

SEC("raw_tp/sys_enter")
int emit(void *ctx)
{
	__u32 only_entry = 0;
	struct packed_event *packed;
	struct everything *event;
	union room *room;

	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	room = bpf_map_lookup_elem(&rooms, &only_entry);
	if (!room)
		return 0;
	event = &room->event;
	event->u8 = 200;
	event->s8 = -100;
	event->letter = 'x';
	event->truth = 1;
	event->s16 = -30000;
	event->u16 = 60000;
	event->s32 = -2000000000;
	event->u32 = 4000000000;
	event->s64 = -9000000000000000000LL;
	event->u64 = 18000000000000000000ULL;
	*(__u32 *)&event->single = minus_a_quarter; /* BPF has no floating point instructions */
	*(__u64 *)&event->precise = one_and_a_half;
	event->colour = GREEN;
	event->colours[0] = RED;
	event->colours[1] = BLUE;
	event->large = LARGE_HIGH;
	event->point.x = 1;
	event->point.y = -2;
	event->corners[0].x = 3;
	event->corners[0].y = -4;
	event->corners[1].x = 5;
	event->corners[1].y = -6;
	event->number.whole = 0x0807060504030201ULL;
	event->inner_first = 7;
	event->inner_number = 0x04030201;
	__builtin_memcpy(event->text, "h\xc3\xa9llo", 7);
	__builtin_memcpy(event->names[0], "first", 6);
	__builtin_memcpy(event->names[1], "all of 8", 8);
	event->octets[0] = 1;
	event->octets[3] = 255;
	event->matrix[0][2] = 3;
	event->matrix[1][0] = 4;
	event->flag_low = 1;
	event->flag_mid = 21;
	event->flag_signed = -33;
	event->flag_high = 0xbeef;
	event->wide_bits = 0xaabbccddeeULL;
	event->rest_bits = 0x123456;
	event->tint = GREEN;
	event->bit = 1;
	event->address = (void *)0xffff888000000001ULL;
	event->changing = 9;
	event->trailing[0] = 10;
	event->trailing[3] = 13;
	bpfstream_output(events, room);

	packed = bpfstream_reserve(packed_events);
	if (!packed)
		return 0;
	packed->kind = 1;
	packed->value = 0x1122334455667788ULL;
	packed->tail = 2;
	bpfstream_submit(packed);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
