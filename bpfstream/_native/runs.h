/* Runs of records, as bpfstream/rings/runs.py describes them, checked against their buffer. */
#ifndef BPFSTREAM_RUNS_H
#define BPFSTREAM_RUNS_H

#include "native.h"

typedef struct {
    Py_ssize_t offset; /* of the first payload */
    Py_ssize_t length; /* of each payload */
    Py_ssize_t stride; /* from payload to payload */
    Py_ssize_t count;
} Run;

/* Reads a run of records that all lie in a buffer of `size` bytes; -1 with an exception if it is
 * none. */
static inline int
read_run(PyObject *object, Py_ssize_t size, Run *run)
{
    Py_ssize_t numbers[4];
    Py_ssize_t span, last;

    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 4) {
        PyErr_SetString(PyExc_TypeError, "a run is a tuple of four integers");
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        numbers[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(object, i));
        if (numbers[i] == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    *run = (Run){numbers[0], numbers[1], numbers[2], numbers[3]};
    if (run->count == 0) {
        return 0;
    }
    if (run->count < 0 || run->length < 0 || run->length > size
        || __builtin_mul_overflow(run->count - 1, run->stride, &span)
        || __builtin_add_overflow(run->offset, span, &last) || run->offset < 0 || last < 0
        || run->offset > size - run->length || last > size - run->length) {
        PyErr_SetString(PyExc_ValueError, "a run of records lies outside of its buffer");
        return -1;
    }
    return 0;
}

/* Appends a run to a list, unless it has no records; -1 with an exception if that fails. */
static inline int
append_run(PyObject *list, const Run *run)
{
    const Py_ssize_t numbers[4] = {run->offset, run->length, run->stride, run->count};

    if (run->count == 0) {
        return 0;
    }
    PyObject *tuple = PyTuple_New(4);
    if (tuple == NULL) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        PyObject *number = PyLong_FromSsize_t(numbers[i]);
        if (number == NULL) {
            Py_DECREF(tuple);
            return -1;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    int failed = PyList_Append(list, tuple);
    Py_DECREF(tuple);
    return failed;
}

#endif
