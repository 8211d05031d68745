/* Keys and values of maps, many at once: twin of the runs of bpfstream/records/codec.py and
 * bpfstream/maps. A run is `count` elements of `size` bytes, `stride` bytes from each to the next.
 * Integers are in the machine's own byte order. */
#include "native.h"

#include <stdint.h>
#include <string.h>

/* Whether a run lies in a buffer of `length` bytes; sets ValueError if not. */
static int
check_run(Py_ssize_t length, Py_ssize_t size, Py_ssize_t stride, Py_ssize_t count)
{
    if (size < 0 || stride < size || count < 0
        || (count > 0 && (size > length || (stride > 0 && (length - size) / stride < count - 1)))) {
        PyErr_SetString(PyExc_ValueError, "the run lies outside of the buffer");
        return -1;
    }
    return 0;
}

static int
check_integer_size(Py_ssize_t size)
{
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        PyErr_Format(PyExc_ValueError, "no integers of %zd bytes", size);
        return -1;
    }
    return 0;
}

static PyObject *
load_integer(const char *from, Py_ssize_t size, int is_signed)
{
    switch (size) {
    case 1: {
        uint8_t value = (uint8_t)*from;
        return PyLong_FromLong(is_signed ? (int8_t)value : value);
    }
    case 2: {
        uint16_t value;
        memcpy(&value, from, 2);
        return PyLong_FromLong(is_signed ? (int16_t)value : value);
    }
    case 4: {
        uint32_t value;
        memcpy(&value, from, 4);
        return is_signed ? PyLong_FromLong((int32_t)value) : PyLong_FromUnsignedLong(value);
    }
    default: {
        uint64_t value;
        memcpy(&value, from, 8);
        return is_signed ? PyLong_FromLongLong((int64_t)value)
                         : PyLong_FromUnsignedLongLong(value);
    }
    }
}

static PyObject *
split_integers(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    Py_ssize_t size, stride, count;
    int is_signed;
    PyObject *values = NULL;

    if (!PyArg_ParseTuple(arguments, "y*nnnp:split_integers", &data, &size, &stride, &count,
                          &is_signed)) {
        return NULL;
    }
    if (check_integer_size(size) < 0 || check_run(data.len, size, stride, count) < 0
        || (values = PyList_New(count)) == NULL) {
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = load_integer((const char *)data.buf + i * stride, size, is_signed);
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyList_SET_ITEM(values, i, value);
    }
done:
    PyBuffer_Release(&data);
    return values;
}

static PyObject *
split_bytes(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer data;
    Py_ssize_t size, stride, count;
    PyObject *values = NULL;

    if (!PyArg_ParseTuple(arguments, "y*nnn:split_bytes", &data, &size, &stride, &count)) {
        return NULL;
    }
    if (check_run(data.len, size, stride, count) < 0 || (values = PyList_New(count)) == NULL) {
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = PyBytes_FromStringAndSize((const char *)data.buf + i * stride, size);
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyList_SET_ITEM(values, i, value);
    }
done:
    PyBuffer_Release(&data);
    return values;
}

/* Room, all zeros, for the run that a tuple is to become; NULL with an exception. */
static PyObject *
room_for(PyObject *values, Py_ssize_t size, Py_ssize_t stride)
{
    Py_ssize_t count = PyTuple_GET_SIZE(values);

    if (size < 0 || stride < size || (count > 0 && stride > PY_SSIZE_T_MAX / count)) {
        PyErr_SetString(PyExc_ValueError, "no run of this stride is possible");
        return NULL;
    }
    PyObject *joined = PyBytes_FromStringAndSize(NULL, count * stride);
    if (joined != NULL) {
        memset(PyBytes_AS_STRING(joined), 0, (size_t)(count * stride));
    }
    return joined;
}

/* 1 when stored, 0 when the value is none that fits, -1 with an exception. */
static int
store_integer(char *to, PyObject *value, Py_ssize_t size, int is_signed)
{
    uint64_t bits;

    if (!PyLong_Check(value)) {
        return 0;
    }
    if (is_signed) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (number == -1 && PyErr_Occurred()) {
            return -1;
        }
        int64_t limit = INT64_MAX >> (64 - 8 * size);
        if (overflow || number > limit || number < -limit - 1) {
            return 0;
        }
        bits = (uint64_t)number;
    }
    else {
        unsigned long long number = PyLong_AsUnsignedLongLong(value);
        if (number == (unsigned long long)-1 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
        if (number > UINT64_MAX >> (64 - 8 * size)) {
            return 0;
        }
        bits = number;
    }
    switch (size) {
    case 1: {
        uint8_t narrow = (uint8_t)bits;
        memcpy(to, &narrow, 1);
        break;
    }
    case 2: {
        uint16_t narrow = (uint16_t)bits;
        memcpy(to, &narrow, 2);
        break;
    }
    case 4: {
        uint32_t narrow = (uint32_t)bits;
        memcpy(to, &narrow, 4);
        break;
    }
    default:
        memcpy(to, &bits, 8);
    }
    return 1;
}

static PyObject *
join_integers(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values;
    Py_ssize_t size, stride;
    int is_signed;

    if (!PyArg_ParseTuple(arguments, "O!nnp:join_integers", &PyTuple_Type, &values, &size, &stride,
                          &is_signed)
        || check_integer_size(size) < 0) {
        return NULL;
    }
    PyObject *joined = room_for(values, size, stride);
    for (Py_ssize_t i = 0; joined != NULL && i < PyTuple_GET_SIZE(values); i++) {
        int stored = store_integer(PyBytes_AS_STRING(joined) + i * stride,
                                   PyTuple_GET_ITEM(values, i), size, is_signed);
        if (stored < 0) {
            Py_CLEAR(joined);
        }
        else if (stored == 0) {
            Py_SETREF(joined, Py_NewRef(Py_None));
            break;
        }
    }
    return joined;
}

static PyObject *
join_bytes(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values;
    Py_ssize_t size, stride;

    if (!PyArg_ParseTuple(arguments, "O!nn:join_bytes", &PyTuple_Type, &values, &size, &stride)) {
        return NULL;
    }
    PyObject *joined = room_for(values, size, stride);
    for (Py_ssize_t i = 0; joined != NULL && i < PyTuple_GET_SIZE(values); i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);
        if (!PyBytes_Check(value) || PyBytes_GET_SIZE(value) != size) {
            Py_SETREF(joined, Py_NewRef(Py_None));
            break;
        }
        memcpy(PyBytes_AS_STRING(joined) + i * stride, PyBytes_AS_STRING(value), (size_t)size);
    }
    return joined;
}

static PyMethodDef functions[] = {
    {"split_integers", split_integers, METH_VARARGS, "The integers of a run."},
    {"split_bytes", split_bytes, METH_VARARGS, "The elements of a run as bytes."},
    {"join_integers", join_integers, METH_VARARGS, "A run of integers."},
    {"join_bytes", join_bytes, METH_VARARGS, "A run of bytes."},
    {NULL, NULL, 0, NULL},
};

int
add_batch(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
