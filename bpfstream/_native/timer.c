/* The start of a timer, a thousand times a second while a stream reads by the clock: twin of what
 * bpfstream/kernel/timerfd.py does through ctypes, at a tenth of the cost. */
#include "native.h"

#include <sys/timerfd.h>

static PyObject *
start_timer(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "start_timer takes a descriptor and nanoseconds");
        return NULL;
    }
    long long fd = PyLong_AsLongLong(arguments[0]);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    long long nanoseconds = PyLong_AsLongLong(arguments[1]);
    if (nanoseconds == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (fd < 0 || fd > INT_MAX) {
        fd = -1; /* which the kernel refuses */
    }
    struct itimerspec once = {
        .it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                     .tv_nsec = (long)(nanoseconds % 1000000000)},
    };
    if (timerfd_settime((int)fd, 0, &once, NULL) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"start_timer", (PyCFunction)(void (*)(void))start_timer, METH_FASTCALL,
     "Lets a timer descriptor become readable once, after a time."},
    {NULL, NULL, 0, NULL},
};

int
add_timer(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
