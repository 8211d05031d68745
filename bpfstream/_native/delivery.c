/* Events at hand, handed over one by one: the twin of bpfstream.streams.delivery.PythonDelivery.
 *
 * A delivery is its own awaitable. While events are at hand __anext__ makes no object: the loop of
 * `async for` asks the delivery for an awaitable, gets the delivery itself, sends it None and gets
 * the event. Up to Python 3.11 am_send gives it directly. From 3.12 on the interpreter calls
 * tp_iternext of what is no coroutine (SEND in Python/bytecodes.c), which has to raise
 * StopIteration: that one is made once and used again while nobody else holds it.
 */
#include "native.h"

#include <stdint.h>
#include <time.h>

/* Without the GIL each call has the delivery to itself. */
#ifndef Py_BEGIN_CRITICAL_SECTION
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

typedef struct {
    PyObject_HEAD
    PyObject *refill;       /* awaited for an event when a checkpoint is due */
    PyObject *events;       /* a list that nobody else has; NULL when there is none */
    Py_ssize_t next;        /* index of the first event that was not handed over */
    Py_ssize_t slice_stop;  /* up to here nobody looks at the clock */
    Py_ssize_t slice_events;
    int64_t slice_ns;
    int64_t slice_end;      /* on the monotonic clock */
    PyObject *stop;         /* a StopIteration to use again */
} Delivery;

static int64_t
monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static Py_ssize_t
left(const Delivery *self)
{
    return self->events == NULL ? 0 : PyList_GET_SIZE(self->events) - self->next;
}

static void
next_slice(Delivery *self)
{
    Py_ssize_t count = left(self);
    self->slice_stop = self->next + (count < self->slice_events ? count : self->slice_events);
}

/* The next event, or NULL without an exception. */
static PyObject *
pop(Delivery *self)
{
    if (left(self) <= 0) {
        return NULL;
    }
    /* The list gives its reference away: an event goes when the consumer is done with it, not with
     * the last of its batch. */
    PyObject *event = PyList_GET_ITEM(self->events, self->next);
    PyList_SET_ITEM(self->events, self->next, Py_NewRef(Py_None));
    self->next++;
    return event;
}

static PyObject *
no_event(PyObject *exception)
{
    PyErr_SetString(exception, "no event is at hand");
    return NULL;
}

/* Awaiting --------------------------------------------------------------------------------------- */

static PyObject *
delivery_anext(Delivery *self)
{
    int ready;
    Py_BEGIN_CRITICAL_SECTION(self);
    ready = self->next < self->slice_stop;
    if (!ready && left(self) > 0 && monotonic_ns() < self->slice_end) {
        next_slice(self);
        ready = 1;
    }
    Py_END_CRITICAL_SECTION();
    return ready ? Py_NewRef(self) : PyObject_CallNoArgs(self->refill);
}

static PySendResult
delivery_send(Delivery *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    PyObject *event;
    Py_BEGIN_CRITICAL_SECTION(self);
    event = pop(self);
    Py_END_CRITICAL_SECTION();
    *result = event;
    if (event == NULL) { /* awaited later than something else that took the event */
        no_event(PyExc_RuntimeError);
        return PYGEN_ERROR;
    }
    return PYGEN_RETURN;
}

/* The exception that carries an event, whose reference it takes; NULL with an exception. */
static PyObject *
stop_with(Delivery *self, PyObject *event)
{
#if PY_VERSION_HEX >= 0x030c0000 && !defined(Py_GIL_DISABLED)
    PyObject *stop = self->stop;
    if (stop != NULL && Py_REFCNT(stop) == 1) {
        Py_XSETREF(((PyStopIterationObject *)stop)->value, event);
        return Py_NewRef(stop);
    }
    stop = PyObject_CallOneArg(PyExc_StopIteration, event);
    Py_DECREF(event);
    Py_XSETREF(self->stop, Py_XNewRef(stop));
    return stop;
#else
    (void)self;
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, event);
    Py_DECREF(event);
    return stop;
#endif
}

static PyObject *
delivery_iternext(Delivery *self)
{
    PyObject *event;
    Py_BEGIN_CRITICAL_SECTION(self);
    event = pop(self);
    Py_END_CRITICAL_SECTION();
    if (event == NULL) {
        return no_event(PyExc_RuntimeError);
    }
    PyObject *stop = stop_with(self, event);
    if (stop != NULL) {
#if PY_VERSION_HEX >= 0x030c0000
        PyErr_SetRaisedException(stop); /* leaves out what PyErr_SetObject does for __context__ */
#else
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
#endif
    }
    return NULL;
}

/* Methods ---------------------------------------------------------------------------------------- */

static PyObject *
delivery_fill(Delivery *self, PyObject *events)
{
    if (!PyList_CheckExact(events)) {
        PyErr_SetString(PyExc_TypeError, "events come as a list");
        return NULL;
    }
    PyObject *old_events, *old_stop;
    Py_BEGIN_CRITICAL_SECTION(self);
    old_events = self->events;
    old_stop = self->stop; /* it holds the last event */
    self->events = Py_NewRef(events);
    self->stop = NULL;
    self->next = self->slice_stop = 0;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old_events); /* now, as it may run code that comes back here */
    Py_XDECREF(old_stop);
    Py_RETURN_NONE;
}

static PyObject *
delivery_take(Delivery *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *event;
    Py_BEGIN_CRITICAL_SECTION(self);
    self->slice_end = monotonic_ns() + self->slice_ns;
    next_slice(self);
    event = pop(self);
    Py_END_CRITICAL_SECTION();
    return event != NULL ? event : no_event(PyExc_IndexError);
}

static PyObject *
delivery_rest(Delivery *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *rest;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (self->events == NULL) {
        rest = PyList_New(0);
    }
    else {
        Py_ssize_t size = PyList_GET_SIZE(self->events);
        rest = PyList_GetSlice(self->events, self->next, size);
        if (rest != NULL) {
            self->next = self->slice_stop = size;
        }
    }
    Py_END_CRITICAL_SECTION();
    return rest;
}

static PyObject *
delivery_left(Delivery *self, void *Py_UNUSED(closure))
{
    Py_ssize_t count;
    Py_BEGIN_CRITICAL_SECTION(self);
    count = left(self);
    Py_END_CRITICAL_SECTION();
    return PyLong_FromSsize_t(count);
}

static PyObject *
delivery_handed_over(Delivery *self, void *Py_UNUSED(closure))
{
    Py_ssize_t count;
    Py_BEGIN_CRITICAL_SECTION(self);
    count = self->next;
    Py_END_CRITICAL_SECTION();
    return PyLong_FromSsize_t(count);
}

/* The type --------------------------------------------------------------------------------------- */

static PyObject *
delivery_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *refill;
    Py_ssize_t events;
    double seconds;
    if (keywords != NULL && PyDict_GET_SIZE(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Delivery takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "Ond:Delivery", &refill, &events, &seconds)) {
        return NULL;
    }
    if (events < 1 || !(seconds >= 0 && seconds < 1e9)) {
        PyErr_SetString(PyExc_ValueError, "a slice has an event at least, and a length of time");
        return NULL;
    }
    Delivery *self = (Delivery *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->refill = Py_NewRef(refill);
        self->slice_events = events;
        self->slice_ns = (int64_t)(seconds * 1e9);
    }
    return (PyObject *)self;
}

static int
delivery_traverse(Delivery *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->refill);
    Py_VISIT(self->events);
    Py_VISIT(self->stop);
    return 0;
}

static int
delivery_clear(Delivery *self)
{
    self->next = self->slice_stop = 0;
    Py_CLEAR(self->events);
    Py_CLEAR(self->stop);
    Py_CLEAR(self->refill);
    return 0;
}

static void
delivery_dealloc(Delivery *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    delivery_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"fill", (PyCFunction)delivery_fill, METH_O, NULL},
    {"take", (PyCFunction)delivery_take, METH_NOARGS, NULL},
    {"rest", (PyCFunction)delivery_rest, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"left", (getter)delivery_left, NULL, NULL, NULL},
    {"handed_over", (getter)delivery_handed_over, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_new, delivery_new},
    {Py_tp_dealloc, delivery_dealloc},
    {Py_tp_traverse, delivery_traverse},
    {Py_tp_clear, delivery_clear},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, delivery_iternext},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, delivery_anext},
    {Py_am_send, delivery_send},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "bpfstream._native.hot.Delivery",
    .basicsize = sizeof(Delivery),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = type_slots,
};

int
add_delivery(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}
