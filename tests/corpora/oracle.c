/*
 * What libbpf makes of BPF objects: every program is loaded on its own, and one line of JSON says
 * how that went.
 *
 *     oracle OBJECT...
 *
 *     {"object": "a.o", "program": "handle_exec", "ok": true, "errno": 0, "relocated": true,
 *      "insns": 120, "hash": "0123456789abcdef"}
 *
 * relocated: libbpf got as far as handing the program to the kernel. hash: FNV-1a of the
 * instructions it handed over, with zeros for what differs from load to load (file descriptors).
 * An object that libbpf can't open gives one line whose program is null.
 *
 * Sizes that tools set at run time get defaults, and nothing is pinned: see prepare_maps().
 *
 * Build: cc -O2 -o oracle oracle.c -lbpf -lelf -lz
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

enum { LOG_SIZE = 64 * 1024, PAGE = 4096 };

static char log_text[LOG_SIZE];
static size_t log_length;

static int keep_warnings(enum libbpf_print_level level, const char *format, va_list arguments)
{
	size_t room = sizeof(log_text) - log_length;
	int length;

	if (level > LIBBPF_WARN || room < 2)
		return 0;
	length = vsnprintf(log_text + log_length, room, format, arguments);
	if (length > 0)
		log_length += (size_t)length < room ? (size_t)length : room - 1;
	return 0;
}

static void clear_log(void)
{
	log_length = 0;
	log_text[0] = 0;
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c > 126)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static uint64_t fnv1a(const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < size; i++) {
		hash ^= bytes[i];
		hash *= 0x100000001b3ull;
	}
	return hash;
}

static void mask_descriptors(struct bpf_insn *code, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bpf_insn *insn = &code[i];

		if (insn->code == (BPF_LD | BPF_IMM | BPF_DW) && i + 1 < count) {
			switch (insn->src_reg) {
			case BPF_PSEUDO_MAP_FD:
			case BPF_PSEUDO_MAP_VALUE:
				insn[0].imm = 0;
				break;
			case BPF_PSEUDO_BTF_ID:
				insn[1].imm = 0;
				break;
			}
			i++;
		} else if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL) {
			insn->off = 0;
		}
	}
}

static bool may_be_empty(enum bpf_map_type type)
{
	switch (type) {
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_STRUCT_OPS:
	case BPF_MAP_TYPE_RINGBUF:
	case BPF_MAP_TYPE_INODE_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
	case BPF_MAP_TYPE_BLOOM_FILTER:
		return true;
	default:
		return false;
	}
}

static void prepare_map(struct bpf_map *map)
{
	enum bpf_map_type type = bpf_map__type(map);
	unsigned int entries = bpf_map__max_entries(map);

	bpf_map__set_pin_path(map, NULL);
	if (!entries && !may_be_empty(type))
		bpf_map__set_max_entries(map, 1024);
	switch (type) {
	case BPF_MAP_TYPE_CPUMAP:
		if ((int)bpf_map__max_entries(map) > libbpf_num_possible_cpus())
			bpf_map__set_max_entries(map, libbpf_num_possible_cpus());
		break;
	case BPF_MAP_TYPE_STACK_TRACE:
		if (!bpf_map__key_size(map))
			bpf_map__set_key_size(map, 4);
		if (!bpf_map__value_size(map))
			bpf_map__set_value_size(map, 127 * 8);
		break;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		bpf_map__set_key_size(map, 4);
		bpf_map__set_value_size(map, 4);
		break;
	case BPF_MAP_TYPE_RINGBUF:
	case BPF_MAP_TYPE_USER_RINGBUF: {
		unsigned int size = PAGE;

		if (!entries)
			entries = 256 * 1024;
		while (size < entries)
			size *= 2;
		bpf_map__set_max_entries(map, size);
		break;
	}
	default:
		break;
	}
}

static void prepare_maps(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		prepare_map(map);
}

/* Whether a failed load failed in the kernel rather than while libbpf was linking, or before: it makes
 * maps first. */
static bool was_relocated(void)
{
	static const char *const later[] = {
		"BPF program load failed",
		"failed to find kernel BTF type ID",
		"attach program FD is not set",
	};

	for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
		if (strstr(log_text, later[i]))
			return true;
	return false;
}

static void report_instructions(const struct bpf_program *program)
{
	size_t count = bpf_program__insn_cnt(program);
	struct bpf_insn *code = calloc(count, sizeof(*code));

	if (!code)
		abort();
	memcpy(code, bpf_program__insns(program), count * sizeof(*code));
	mask_descriptors(code, count);
	printf(", \"insns\": %zu, \"hash\": \"%016llx\"", count,
	       (unsigned long long)fnv1a(code, count * sizeof(*code)));
	free(code);
}

static struct bpf_object *open_object(const char *path)
{
	clear_log();
	return bpf_object__open_file(path, NULL);
}

/* Loads the program with this index alone; returns false when there is no such program. */
static bool try_program(const char *path, int wanted)
{
	struct bpf_program *program, *chosen = NULL;
	struct bpf_object *object = open_object(path);
	int index = 0, error;

	if (!object)
		return false;
	bpf_object__for_each_program(program, object) {
		if (index == wanted)
			chosen = program;
		bpf_program__set_autoload(program, index == wanted);
		index++;
	}
	if (!chosen) {
		bpf_object__close(object);
		return false;
	}
	prepare_maps(object);
	error = -bpf_object__load(object);
	printf("{\"object\": ");
	print_string(path);
	printf(", \"program\": ");
	print_string(bpf_program__name(chosen));
	printf(", \"ok\": %s, \"errno\": %d", error ? "false" : "true", error);
	printf(", \"relocated\": %s", !error || was_relocated() ? "true" : "false");
	report_instructions(chosen);
	printf("}\n");
	fflush(stdout);
	bpf_object__close(object);
	return true;
}

int main(int count, char **arguments)
{
	libbpf_set_print(keep_warnings);
	for (int i = 1; i < count; i++) {
		const char *path = arguments[i];
		struct bpf_object *object = open_object(path);

		if (!object) {
			printf("{\"object\": ");
			print_string(path);
			printf(", \"program\": null, \"ok\": false, \"errno\": %d}\n", errno);
			fflush(stdout);
			continue;
		}
		bpf_object__close(object);
		for (int program = 0; try_program(path, program); program++)
			;
	}
	return 0;
}
