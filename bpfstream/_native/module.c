/* The module bpfstream._native.hot. It keeps no state: plans and readers belong to their users. */
#include "native.h"

static int
execute(PyObject *module)
{
    if (add_ring(module) < 0 || add_perf(module) < 0 || add_plan(module) < 0
        || add_columns(module) < 0 || add_delivery(module) < 0 || add_btf(module) < 0
        || add_batch(module) < 0 || add_timer(module) < 0) {
        return -1;
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hot",
    .m_doc = "The hot loops of bpfstream, compiled; hot.pyi has their types.",
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_hot(void)
{
    return PyModuleDef_Init(&definition);
}
