/* What the files of the compiled twin share. Each adds its functions and types to the one module. */
#ifndef BPFSTREAM_NATIVE_H
#define BPFSTREAM_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int add_ring(PyObject *module);    /* ring.c: the scan of a BPF ring buffer, its positions */
int add_perf(PyObject *module);    /* perf.c: the scan of a perf buffer */
int add_plan(PyObject *module);    /* plan.c: records into msgspec Structs */
int add_columns(PyObject *module); /* columns.c: records into one array */
int add_delivery(PyObject *module); /* delivery.c: events handed over one by one */
int add_btf(PyObject *module);     /* btf.c: where the types of a BTF lie */
int add_batch(PyObject *module);   /* batch.c: elements of maps, many at once */
int add_timer(PyObject *module);   /* timer.c: the start of a timer descriptor */

#endif
