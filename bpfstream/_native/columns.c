/* Records into the rows of an array: twin of `gather` in bpfstream/records/columns.py. */
#include "runs.h"

#include <string.h>

typedef struct {
    char *next;        /* where the next row goes */
    Py_ssize_t room;   /* rows that are left */
    Py_ssize_t pitch;  /* bytes from row to row */
    Py_ssize_t start;  /* the byte of a record that a row begins with */
    Py_ssize_t size;   /* bytes of a record that a row takes */
    Py_ssize_t least;  /* bytes that a record has at least */
    Py_ssize_t copied; /* rows filled */
} Rows;

static inline void
copy_rows(const char *source, const Run *run, Py_ssize_t width, Rows *rows)
{
    char *row = rows->next;
    for (Py_ssize_t i = 0; i < run->count; i++) {
        memcpy(row, source, (size_t)width);
        source += run->stride;
        row += rows->pitch;
    }
}

/* 1 when all records of the run were copied, 0 before one that is too short, -1 on an error. */
static int
copy_run(const Py_buffer *buffer, PyObject *object, Rows *rows)
{
    Run run;
    if (read_run(object, buffer->len, &run) < 0) {
        return -1;
    }
    if (run.count == 0) {
        return 1;
    }
    if (run.length < rows->least) {
        return 0;
    }
    if (run.count > rows->room) {
        PyErr_SetString(PyExc_ValueError, "there are more records than rows");
        return -1;
    }
    Py_ssize_t left = run.length > rows->start ? run.length - rows->start : 0;
    Py_ssize_t width = left < rows->size ? left : rows->size;
    const char *source = (const char *)buffer->buf + run.offset + (width > 0 ? rows->start : 0);
    switch (width) { /* a copy of a known size is a few instructions, and no call */
    case 4:
        copy_rows(source, &run, 4, rows);
        break;
    case 8:
        copy_rows(source, &run, 8, rows);
        break;
    case 16:
        copy_rows(source, &run, 16, rows);
        break;
    case 24:
        copy_rows(source, &run, 24, rows);
        break;
    case 32:
        copy_rows(source, &run, 32, rows);
        break;
    case 40:
        copy_rows(source, &run, 40, rows);
        break;
    case 48:
        copy_rows(source, &run, 48, rows);
        break;
    case 64:
        copy_rows(source, &run, 64, rows);
        break;
    case 128:
        copy_rows(source, &run, 128, rows);
        break;
    default:
        copy_rows(source, &run, width, rows);
    }
    if (width < rows->size) {
        for (Py_ssize_t i = 0; i < run.count; i++) {
            memset(rows->next + i * rows->pitch + width, 0, (size_t)(rows->size - width));
        }
    }
    rows->next += run.count * rows->pitch;
    rows->room -= run.count;
    rows->copied += run.count;
    return 1;
}

static int
copy_part(PyObject *part, Rows *rows)
{
    Py_buffer buffer;
    int going_on = 1;

    if (!PyTuple_Check(part) || PyTuple_GET_SIZE(part) != 2) {
        PyErr_SetString(PyExc_TypeError, "a part is a buffer and its runs");
        return -1;
    }
    if (PyObject_GetBuffer(PyTuple_GET_ITEM(part, 0), &buffer, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    /* A tuple, for nobody else can change it meanwhile. */
    PyObject *runs = PySequence_Tuple(PyTuple_GET_ITEM(part, 1));
    if (runs == NULL) {
        going_on = -1;
    }
    for (Py_ssize_t i = 0; going_on == 1 && i < PyTuple_GET_SIZE(runs); i++) {
        going_on = copy_run(&buffer, PyTuple_GET_ITEM(runs, i), rows);
    }
    Py_XDECREF(runs);
    PyBuffer_Release(&buffer);
    return going_on;
}

static PyObject *
gather(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *given, *parts;
    Py_buffer into;
    Rows rows = {0};
    int going_on = 1;

    if (!PyArg_ParseTuple(arguments, "Onnnw*n:gather", &given, &rows.start, &rows.size, &rows.least, &into,
                          &rows.pitch)) {
        return NULL;
    }
    parts = PySequence_Tuple(given);
    if (parts == NULL) {
        going_on = -1;
    }
    else if (rows.start < 0 || rows.size < 0 || rows.pitch < 1 || rows.size > rows.pitch) {
        PyErr_SetString(PyExc_ValueError, "a record does not fit into its row");
        going_on = -1;
    }
    else {
        rows.next = into.buf;
        rows.room = into.len / rows.pitch;
    }
    for (Py_ssize_t i = 0; going_on == 1 && i < PyTuple_GET_SIZE(parts); i++) {
        going_on = copy_part(PyTuple_GET_ITEM(parts, i), &rows);
    }
    Py_XDECREF(parts);
    PyBuffer_Release(&into);
    return going_on < 0 ? NULL : PyLong_FromSsize_t(rows.copied);
}

static PyMethodDef functions[] = {
    {"gather", gather, METH_VARARGS, "Copy records into the rows of an array."},
    {NULL, NULL, 0, NULL},
};

int
add_columns(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
