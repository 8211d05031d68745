/* SPDX-License-Identifier: MIT */
/*
 * The benchmarks' consumer with libbpf:
 *
 *     libbpf read OBJECT (ring|perf) PAGES     answers commands; see tests/benchmarks/consumer.py
 *     libbpf startup OBJECT                    ends with the first event
 *     libbpf maps OBJECT ENTRIES               times operations on a hash map
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../programs/events.h"

#define MOST_LATENCIES 1000000

static __u64 sum;
static int ended;
static __u64 *latencies; /* only while latencies are taken */
static long latency_count;

static __u64 now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void check(int failed, const char *what)
{
	if (!failed)
		return;
	perror(what);
	exit(1);
}

/* event_128 begins like event_48. */
static int on_event(void *context, void *data, size_t size)
{
	const struct event_48 *event = data;

	sum += event->value;
	if (!event->value)
		ended = 1;
	else if (latencies && latency_count < MOST_LATENCIES)
		latencies[latency_count++] = now(CLOCK_MONOTONIC) - event->timestamp;
	return 0;
}

static void on_sample(void *context, int cpu, void *data, __u32 size)
{
	on_event(context, data, size);
}

static struct bpf_object *load(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	check(!object, "open the object");
	check(bpf_object__load(object), "load the object");
	return object;
}

static int read_events(const char *path, const char *buffer, int pages)
{
	struct bpf_object *object = load(path);
	int map = bpf_object__find_map_fd_by_name(object, buffer);
	struct ring_buffer *ring = NULL;
	struct perf_buffer *perf = NULL;
	struct bpf_program *program;
	char command[64];

	if (!strcmp(buffer, "ring")) {
		ring = ring_buffer__new(map, on_event, NULL, NULL);
		check(!ring, "open the ring buffer");
	} else {
		perf = perf_buffer__new(map, pages, on_sample, NULL, NULL, NULL);
		check(!perf, "open the perf buffer");
	}
	printf("ready");
	bpf_object__for_each_program(program, object) {
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);

		check(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size), "ask");
		printf(" %s=%u", bpf_program__name(program), info.id);
	}
	printf("\n");
	fflush(stdout);

	while (fgets(command, sizeof(command), stdin)) {
		int with_latencies = !strcmp(command, "latency\n");
		__u64 start;

		sum = ended = latency_count = 0;
		latencies = with_latencies ? calloc(MOST_LATENCIES, sizeof(*latencies)) : NULL;
		start = now(CLOCK_PROCESS_CPUTIME_ID);
		while (!ended) {
			if (ring)
				ring_buffer__poll(ring, -1);
			else
				perf_buffer__poll(perf, -1);
		}
		printf("%llu %llu", now(CLOCK_PROCESS_CPUTIME_ID) - start, sum);
		for (long i = 0; i < latency_count; i++)
			printf(" %llu", latencies[i]);
		printf("\n");
		fflush(stdout);
		free(latencies);
	}
	return 0;
}

static int on_first(void *context, void *data, size_t size)
{
	ended = 1;
	return -1; /* the others don't matter */
}

static int start_up(const char *path)
{
	struct bpf_object *object = load(path);
	int map = bpf_object__find_map_fd_by_name(object, "events");
	struct ring_buffer *ring = ring_buffer__new(map, on_first, NULL, NULL);
	struct bpf_program *program = bpf_object__next_program(object, NULL);
	char line[128];
	FILE *status;

	check(!ring, "open the ring buffer");
	check(!bpf_program__attach(program), "attach");
	while (!ended)
		ring_buffer__poll(ring, -1);
	printf("%llu %llu\n", now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID));
	status = fopen("/proc/self/status", "r");
	check(!status, "/proc/self/status");
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, "VmHWM:", 6))
			fputs(line, stdout);
	return 0;
}

#define TIMED(name, count, ...)                                                         \
	do {                                                                            \
		__u64 start = now(CLOCK_PROCESS_CPUTIME_ID);                            \
		__VA_ARGS__                                                             \
		printf("%s %f\n", name,                                                 \
		       (double)(now(CLOCK_PROCESS_CPUTIME_ID) - start) / (count));      \
	} while (0)

static int maps(const char *path, __u32 entries)
{
	int map = bpf_object__find_map_fd_by_name(load(path), "table");
	__u32 *keys = calloc(entries, sizeof(*keys));
	__u64 *values = calloc(entries, sizeof(*values));
	__u64 value, total;

	for (__u32 key = 0; key < entries; key++) {
		keys[key] = key;
		values[key] = key;
	}
	TIMED("update", entries,
		for (__u32 key = 0; key < entries; key++) {
			value = key;
			check(bpf_map_update_elem(map, &key, &value, BPF_ANY), "update");
		}
	);
	total = 0;
	TIMED("lookup", entries,
		for (__u32 key = 0; key < entries; key++) {
			check(bpf_map_lookup_elem(map, &key, &value), "look up");
			total += value;
		}
	);
	check(total != entries * (entries - 1ULL) / 2, "sum of look-ups");
	total = 0;
	TIMED("iterate", entries,
		__u32 previous; __u32 key; int first = 1;
		while (!bpf_map_get_next_key(map, first ? NULL : &previous, &key)) {
			check(bpf_map_lookup_elem(map, &key, &value), "look up");
			total += value;
			previous = key;
			first = 0;
		}
	);
	check(total != entries * (entries - 1ULL) / 2, "sum of the iteration");
	total = 0;
	TIMED("batch lookup", entries,
		__u32 place = 0; __u32 found = 0; int error = 0;
		while (!error) {
			__u32 count = entries - found < 10000 ? entries - found : 10000;

			error = bpf_map_lookup_batch(map, found ? &place : NULL, &place,
						     keys + found, values + found, &count, NULL);
			check(error && error != -ENOENT, "look up a batch");
			found += count;
		}
		for (__u32 i = 0; i < found; i++)
			total += values[i];
	);
	check(total != entries * (entries - 1ULL) / 2, "sum of batches");
	TIMED("batch update", entries,
		for (__u32 start = 0; start < entries; start += 10000) {
			__u32 count = entries - start < 10000 ? entries - start : 10000;

			check(bpf_map_update_batch(map, keys + start, values + start, &count, NULL),
			      "update a batch");
		}
	);
	return 0;
}

static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

int main(int argc, char **argv)
{
	libbpf_set_print(print_nothing);
	if (argc == 5 && !strcmp(argv[1], "read"))
		return read_events(argv[2], argv[3], atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "startup"))
		return start_up(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "maps"))
		return maps(argv[2], atoi(argv[3]));
	fprintf(stderr, "usage: libbpf read|startup|maps OBJECT ...\n");
	return 2;
}
