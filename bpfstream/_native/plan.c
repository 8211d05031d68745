#include "native.h"

static PyMethodDef functions[] = {
    {NULL, NULL, 0, NULL},
};

int
add_plan(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
