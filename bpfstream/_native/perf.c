/* Records of perf buffers: twin of scan_stretch() in bpfstream/rings/perf_scan.py.
 *
 * data_head was loaded before, with acquire order, and the kernel writes to nothing between
 * data_tail and data_head; still each word is read once and what it says is checked.
 */
#include "runs.h"

#include <stdint.h>
#include <string.h>

enum {
    RECORD_LOST = 2,   /* enum perf_event_type (linux/perf_event.h) */
    RECORD_SAMPLE = 9,
    HEADER_SIZE = 8,   /* struct perf_event_header */
    SAMPLE_OVERHEAD = HEADER_SIZE + 4, /* PERF_SAMPLE_RAW: u32 size, data */
    LOST_SIZE = HEADER_SIZE + 16,      /* u64 id, u64 lost */
    RECORD_ALIGNMENT = 8,
};

struct header { /* struct perf_event_header */
    uint32_t type;
    uint16_t misc, size;
};

typedef struct {
    uint64_t seen, count, lost, position;
} Found;

/* Looks at records from found->position on, up to one that only Python can tell: a bad one, or one
 * that runs over the end of the data. */
static int
scan(const char *data, uint64_t capacity, uint64_t available, uint64_t limit, PyObject *runs,
     Found *found)
{
    Run run = {0, 0, 0, 0};
    Py_ssize_t next = -1; /* where the payload of the next sample would be in this run */

    for (; available > 0 && found->seen < limit; found->seen++) {
        uint64_t offset = found->position & (capacity - 1);
        const char *record = data + offset;
        struct header header;
        memcpy(&header, record, sizeof(header));
        if (header.size < HEADER_SIZE || header.size % RECORD_ALIGNMENT != 0
            || header.size > available || header.size > capacity - offset) {
            break;
        }
        if (header.type == RECORD_SAMPLE) {
            uint32_t length;
            if (header.size < SAMPLE_OVERHEAD) {
                break;
            }
            memcpy(&length, record + HEADER_SIZE, sizeof(length));
            uint64_t whole = (uint64_t)length + SAMPLE_OVERHEAD;
            if (whole <= header.size) {
                Py_ssize_t payload = (Py_ssize_t)offset + SAMPLE_OVERHEAD;
                if (payload != next || (Py_ssize_t)length != run.length
                    || header.size != run.stride) {
                    if (append_run(runs, &run) < 0) {
                        return -1;
                    }
                    run = (Run){payload, (Py_ssize_t)length, header.size, 0};
                }
                run.count++;
                next = payload + header.size;
                found->count++;
            }
            else if ((whole & UINT16_MAX) == header.size) {
                found->lost++; /* 64 KiB or more: the size wrapped */
            }
            else {
                break;
            }
        }
        else if (header.type == RECORD_LOST) {
            uint64_t lost;
            if (header.size < LOST_SIZE) {
                break;
            }
            memcpy(&lost, record + HEADER_SIZE + 8, sizeof(lost));
            if (__builtin_add_overflow(found->lost, lost, &lost)) {
                break;
            }
            found->lost = lost;
        }
        found->position += header.size;
        available -= header.size;
    }
    return append_run(runs, &run);
}

static PyObject *
scan_perf_buffer(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t given)
{
    uint64_t numbers[3]; /* tail, head, limit */
    Py_buffer data;

    if (given != 4) {
        PyErr_SetString(PyExc_TypeError, "scan_perf_buffer takes data, two positions and a limit");
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        numbers[i] = PyLong_AsUnsignedLongLong(arguments[i + 1]);
        if (numbers[i] == UINT64_MAX && PyErr_Occurred()) {
            return NULL;
        }
    }
    PyObject *runs = PyList_New(0);
    if (runs == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0) {
        Py_DECREF(runs);
        return NULL;
    }
    uint64_t capacity = (uint64_t)data.len, available = numbers[1] - numbers[0];
    Found found = {.position = numbers[0]};
    int is_ring = capacity >= RECORD_ALIGNMENT && (capacity & (capacity - 1)) == 0
                  && available <= capacity && numbers[0] % RECORD_ALIGNMENT == 0
                  && available % RECORD_ALIGNMENT == 0;
    int failed = is_ring && scan(data.buf, capacity, available, numbers[2], runs, &found) < 0;
    PyBuffer_Release(&data);
    if (failed) {
        Py_DECREF(runs);
        return NULL;
    }
    return Py_BuildValue("(NKKKK)", runs, (unsigned long long)found.count,
                         (unsigned long long)found.position, (unsigned long long)found.seen,
                         (unsigned long long)found.lost);
}

static PyMethodDef functions[] = {
    {"scan_perf_buffer", (PyCFunction)(void (*)(void))scan_perf_buffer, METH_FASTCALL,
     "The samples that are there, by the headers of all records."},
    {NULL, NULL, 0, NULL},
};

int
add_perf(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
