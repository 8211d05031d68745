/* Positions and headers of BPF ring buffers: twin of the scan in bpfstream/rings/ringbuf_scan.py.
 *
 * The kernel writes to this memory all the time. Each word is read once, with the order that its
 * writer expects, and whatever it says is checked against the size that the data really has.
 */
#include "native.h"

#include <stdint.h>

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

static PyMethodDef functions[] = {
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
