/* Positions and headers of BPF ring buffers: twin of the scan in bpfstream/rings/ringbuf_scan.py.
 *
 * The kernel writes to this memory all the time. Each word is read once, with the order that its
 * writer expects, and whatever it says is checked against the size that the data really has.
 *
 * Safe without the GIL: nothing is kept between calls, buffers are held during one, and a ring has
 * one reader, which is for one thread at a time.
 */
#include "runs.h"

#include <stdint.h>

/* include/uapi/linux/bpf.h: BPF_RINGBUF_*; kernel/bpf/ringbuf.c rounds records up to 8 bytes. */
#define BUSY UINT32_C(0x80000000)
#define LENGTH_MASK UINT32_C(0x3fffffff)
#define HEADER_SIZE UINT64_C(8)
#define RECORD_ALIGNMENT UINT64_C(8)

#define CACHE_LINE UINT64_C(64)
#define AHEAD UINT64_C(16) /* records; from 8 to 32 it makes little difference */

/* Takes the buffer of a position: 8 bytes, aligned, so that one access reads or writes them all. */
static int
get_position(PyObject *object, Py_buffer *buffer, int flags)
{
    if (PyObject_GetBuffer(object, buffer, flags) < 0) {
        return -1;
    }
    if (buffer->len < 8 || (uintptr_t)buffer->buf % 8 != 0) {
        PyBuffer_Release(buffer);
        PyErr_SetString(PyExc_ValueError, "a position has 8 bytes, aligned");
        return -1;
    }
    return 0;
}

static PyObject *
load_position(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_buffer buffer;

    if (get_position(object, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    /* Pairs with smp_store_release() of producer_pos in __bpf_ringbuf_reserve and of consumer_pos
     * in __bpf_user_ringbuf_sample_release (kernel/bpf/ringbuf.c), and with the smp_wmb() ahead of
     * data_head in perf_output_put_handle (kernel/events/ring_buffer.c). */
    uint64_t position = __atomic_load_n((const uint64_t *)buffer.buf, __ATOMIC_ACQUIRE);
    PyBuffer_Release(&buffer);
    return PyLong_FromUnsignedLongLong(position);
}

static PyObject *
store_position(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer buffer;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "store_position takes a buffer and a position");
        return NULL;
    }
    uint64_t position = PyLong_AsUnsignedLongLong(arguments[1]);
    if (position == UINT64_MAX && PyErr_Occurred()) {
        return NULL;
    }
    if (get_position(arguments[0], &buffer, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    /* Pairs with smp_load_acquire() of consumer_pos in __bpf_ringbuf_reserve and of producer_pos in
     * __bpf_user_ringbuf_peek (kernel/bpf/ringbuf.c), and with the control dependency on data_tail
     * in __perf_output_begin (kernel/events/ring_buffer.c). */
    __atomic_store_n((uint64_t *)buffer.buf, position, __ATOMIC_RELEASE);
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

static PyObject *
fence(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    /* Pairs with xchg() of the header ahead of the look at consumer_pos in bpf_ringbuf_commit. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    Py_RETURN_NONE;
}

/* The twin of scan(): NULL without an exception where that raises. `data` has 2 * `capacity` bytes,
 * so that every header, and every record that fits into the ring, lies inside. */
static PyObject *
scan(const char *data, uint64_t capacity, uint64_t start, uint64_t producer, uint64_t limit)
{
    uint64_t available = producer - start;
    if (available > capacity || (start | available) % RECORD_ALIGNMENT != 0) {
        return NULL;
    }
    PyObject *runs = PyList_New(0);
    if (runs == NULL) {
        return NULL;
    }
    Run run = {0, 0, 0, 0};
    Py_ssize_t next = -1; /* where the payload of the next record would be in this run */
    uint64_t position = start, last = start, count = 0, discarded = 0;
    int more = 0;

    while (available > 0) {
        if (limit == 0) {
            more = 1;
            break;
        }
        uint64_t offset = position & (capacity - 1);
        /* Pairs with xchg() of hdr->len in bpf_ringbuf_commit (kernel/bpf/ringbuf.c): the payload
         * is read after the header that is no longer busy. */
        uint32_t header = __atomic_load_n((const uint32_t *)(data + offset), __ATOMIC_ACQUIRE);
        if (header & BUSY) {
            break;
        }
        uint64_t length = header & LENGTH_MASK;
        uint64_t stride = (length + HEADER_SIZE + RECORD_ALIGNMENT - 1) & ~(RECORD_ALIGNMENT - 1);
        if (stride > available) {
            if (position == start) {
                Py_DECREF(runs);
                return NULL;
            }
            more = 1;
            break;
        }
        if (stride > CACHE_LINE) {
            /* Headers alone are a line here and a line there, which processors don't see coming:
             * without this the scan of records of 128 bytes takes twice as long. */
            const char *later = data + ((position + AHEAD * stride) & (capacity - 1));
            __builtin_prefetch(later);
            __builtin_prefetch(later + CACHE_LINE);
        }
        last = position;
        position += stride;
        available -= stride;
        limit--;
        if (header != length) {
            discarded++;
            continue;
        }
        Py_ssize_t payload = (Py_ssize_t)(offset + HEADER_SIZE);
        if ((Py_ssize_t)length != run.length || payload != next) {
            if (append_run(runs, &run) < 0) {
                Py_DECREF(runs);
                return NULL;
            }
            run = (Run){payload, (Py_ssize_t)length, (Py_ssize_t)stride, 0};
        }
        run.count++;
        next = payload + run.stride;
        count++;
    }
    if (append_run(runs, &run) < 0) {
        Py_DECREF(runs);
        return NULL;
    }
    return Py_BuildValue("(NKKKKO)", runs, (unsigned long long)count, (unsigned long long)position,
                         (unsigned long long)last, (unsigned long long)discarded,
                         more ? Py_True : Py_False);
}

static PyObject *
scan_ring_buffer(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t given)
{
    uint64_t numbers[3]; /* start, producer, limit */
    Py_buffer data;
    PyObject *found = NULL;

    if (given != 4) {
        PyErr_SetString(PyExc_TypeError, "scan_ring_buffer takes data, two positions and a limit");
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        numbers[i] = PyLong_AsUnsignedLongLong(arguments[i + 1]);
        if (numbers[i] == UINT64_MAX && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    uint64_t capacity = (uint64_t)data.len / 2;
    int is_ring = capacity >= RECORD_ALIGNMENT && (capacity & (capacity - 1)) == 0
                  && (uint64_t)data.len == 2 * capacity && (uintptr_t)data.buf % 4 == 0;
    if (is_ring) {
        found = scan(data.buf, capacity, numbers[0], numbers[1], numbers[2]);
    }
    PyBuffer_Release(&data);
    if (found == NULL && !PyErr_Occurred()) {
        Py_RETURN_NONE;
    }
    return found;
}

static PyMethodDef functions[] = {
    {"scan_ring_buffer", (PyCFunction)(void (*)(void))scan_ring_buffer, METH_FASTCALL,
     "The records that are there, by their headers."},
    {"load_position", load_position, METH_O, "A position, before all that is read after."},
    {"store_position", (PyCFunction)(void (*)(void))store_position, METH_FASTCALL,
     "Writes a position, after all that was read and written before."},
    {"fence", fence, METH_NOARGS, "Keeps all accesses before ahead of all after."},
    {NULL, NULL, 0, NULL},
};

int
add_ring(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
