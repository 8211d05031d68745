/* Decode plans: runs of records into msgspec Structs; twin of bpfstream/records/decoder.py.
 *
 * A plan is a tree of nodes, made of the description that bpfstream/records/plan.py writes. A record
 * that a plan can't decode it leaves to the Python function, which decodes it or says what is wrong.
 *
 * Where the class allows it (see slots_of), its instances are made without a call: memory for an
 * object, and each value stored where the class's member descriptors say that its field is.
 *
 * Without the GIL: a plan's nodes never change, but for the tables of values seen before. decode()
 * locks the plan. The lock may be given up wherever Python code runs; a look at a table, and a change
 * of one, have none inside of them.
 */
#include "runs.h"

#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h> /* PyMemberDef, since then in Python.h */
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030d0000
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

#define OBJECT_SLOT 16 /* Py_T_OBJECT_EX, which 3.11 calls T_OBJECT_EX */

#if PY_VERSION_HEX >= 0x030c0000
#define OUTSIDE_OF_SLOTS (Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF)
#else
#define OUTSIDE_OF_SLOTS Py_TPFLAGS_MANAGED_DICT
#endif

enum {
    CACHED_TEXT_SIZE = 64, /* as bpfstream/records/converters.py */
    TEXTS = 512,           /* remembered for one field: a power of 2 */
    TEXTS_BITS = 9,
    NUMBERS = 1024,        /* remembered for one field: a power of 2 */
    NUMBERS_BITS = 10,
    NUMBER_TABLES = 64,    /* of one plan at most, 16 KiB each */
    SMALLEST_NUMBER = 257, /* below, Python has one object for each */
    CREDIT = 256,          /* numbers not found, more than those found, until nobody looks */
    IDLE = 1 << 14,        /* numbers of the field until somebody looks again */
    MEMBERS = 256,    /* enum values below this are found by index */
    ON_STACK = 32,    /* fields of a call whose values need no memory of their own */
    WIDEST_WORD = 8,  /* bytes of a number that fits into 64 bits */
    WIDEST_INT = 16,  /* bytes of the largest integer of C */
    MAXIMUM_DEPTH = 200, /* far beyond what bpfstream.records nests */
};

#if PY_BIG_ENDIAN
#define BIG_ENDIAN_HERE 1
#else
#define BIG_ENDIAN_HERE 0
#endif

typedef enum {
    U8, U16, U32, U64, S8, S16, S32, S64, /* in the machine's byte order */
    NUMBER,                               /* any other integer: bits, odd sizes, swapped */
    MEMBER,                               /* of an enum */
    BOOLEAN, FLOAT, TEXT, BYTES, ARRAY, STRUCT,
} Kind;

/* What a record may end in. */
typedef enum { WHOLE, CUT, FLEXIBLE } Tail;

typedef struct {
    char *keys; /* TEXTS of the field's size each */
    PyObject *texts[TEXTS];
} TextTable;

typedef struct {
    uint64_t number;
    PyObject *object;
} Known;

/* Numbers of a field that were seen before: ids of processes, users and cgroups come again and again,
 * and to look for one takes a fraction of making it anew. Times and counters never do. */
typedef struct {
    int credit;
    int idle;
    Known *known; /* NUMBERS of them, or NULL */
} NumberTable;

typedef struct Node {
    Kind kind;
    Tail tail;
    bool big;       /* byte order */
    bool is_signed;
    bool container; /* its values may be part of a reference cycle */
    bool tracked;   /* STRUCT: some of its fields are containers */
    unsigned shift, width;
    Py_ssize_t offset; /* from the start of what the node is in */
    Py_ssize_t size;
    Py_ssize_t count; /* STRUCT: fields. ARRAY: elements. MEMBER: of `members` */
    struct Node *nodes;
    PyObject *object;    /* STRUCT: the class. MEMBER: the members by value */
    PyObject *keywords;  /* STRUCT: names of the last fields, which the class takes by name */
    Py_ssize_t *slots;   /* STRUCT: where the fields lie in an instance; NULL: call the class */
    PyObject **members;  /* MEMBER: those of small values; borrowed from `object` */
    TextTable *table;    /* TEXT */
    NumberTable numbers; /* U32 to S64 */
} Node;

typedef struct {
    Node root;
    Py_ssize_t least;
    Py_ssize_t fixed; /* bytes that the fields take which are no tail */
    bool flexible;
    bool expressible; /* or all its records are left to Python */
    int64_t tag;
} Layout;

typedef struct {
    PyObject_HEAD
    Py_ssize_t count;
    Layout *layouts;
    bool tagged;
    Node tag;
} Plan;

/* Values ---------------------------------------------------------------------------------------- */

static PyObject *value_of(Node *node, const char *base);

static inline PyObject *
integer(uint64_t number)
{
    /* The way of `long` is the faster one. */
    return number <= LONG_MAX ? PyLong_FromLong((long)number) : PyLong_FromUnsignedLongLong(number);
}

/* An integer of 32 or 64 bits that the field may have had before. */
static inline PyObject *
familiar(Node *node, uint64_t number)
{
    NumberTable *table = &node->numbers;

    if (number < SMALLEST_NUMBER || table->known == NULL) {
        return node->is_signed ? PyLong_FromLongLong((int64_t)number) : integer(number);
    }
    if (table->idle > 0) {
        table->idle--;
        return node->is_signed ? PyLong_FromLongLong((int64_t)number) : integer(number);
    }
    Known *known = &table->known[(number ^ number >> NUMBERS_BITS) & (NUMBERS - 1)];
    if (known->number == number && known->object != NULL) {
        table->credit += table->credit < CREDIT;
        return Py_NewRef(known->object);
    }
    if (--table->credit < 0) {
        table->credit = CREDIT;
        table->idle = IDLE;
    }
    PyObject *object = node->is_signed ? PyLong_FromLongLong((int64_t)number) : integer(number);
    if (object != NULL) {
        known->number = number;
        Py_XSETREF(known->object, Py_NewRef(object));
    }
    return object;
}

/* A number of up to 8 bytes, cut out of its bits, its sign extended. */
static inline uint64_t
bits_of(const Node *node, const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    uint64_t number = 0;

    if (node->big == BIG_ENDIAN_HERE && node->size == 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        number = word;
    }
    else if (node->big == BIG_ENDIAN_HERE && node->size == 8) {
        memcpy(&number, at, 8);
    }
    else {
        for (Py_ssize_t i = 0; i < node->size; i++) {
            number = number << 8 | bytes[node->big ? i : node->size - 1 - i];
        }
    }
    unsigned above = 64 - node->width;
    number = number >> node->shift << above;
    return node->is_signed ? (uint64_t)((int64_t)number >> above) : number >> above;
}

static PyObject *
number_of(const Node *node, const char *at)
{
    if (node->size > WIDEST_WORD) {
        return _PyLong_FromByteArray((const unsigned char *)at, (size_t)node->size, !node->big,
                                     node->is_signed);
    }
    uint64_t number = bits_of(node, at);
    return node->is_signed ? PyLong_FromLongLong((int64_t)number) : integer(number);
}

static PyObject *
member_of(const Node *node, const char *at)
{
    if (node->size <= WIDEST_WORD) {
        uint64_t number = bits_of(node, at);
        if (number < (uint64_t)node->count && node->members[number] != NULL) {
            return Py_NewRef(node->members[number]);
        }
    }
    PyObject *number = number_of(node, at);
    if (number == NULL) {
        return NULL;
    }
    PyObject *member = PyObject_GetItem(node->object, number);
    Py_DECREF(number);
    return member;
}

static bool
is_true(const Node *node, const char *at)
{
    if (node->size <= WIDEST_WORD) {
        return bits_of(node, at) != 0;
    }
    for (Py_ssize_t i = 0; i < node->size; i++) {
        if (at[i] != 0) {
            return true;
        }
    }
    return false;
}

static PyObject *
float_of(const Node *node, const char *at)
{
    double number = node->size == 8   ? PyFloat_Unpack8(at, !node->big)
                    : node->size == 4 ? PyFloat_Unpack4(at, !node->big)
                                      : PyFloat_Unpack2(at, !node->big);
    if (number == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return PyFloat_FromDouble(number);
}

static PyObject *
decode_text(const char *at, Py_ssize_t size)
{
    const char *end = size > 0 ? memchr(at, 0, (size_t)size) : NULL;
    return PyUnicode_DecodeUTF8(at, end == NULL ? size : end - at, "backslashreplace");
}

static inline size_t
text_slot(const char *key, Py_ssize_t size)
{
    uint64_t hash = 0, word;
    for (; size >= 8; size -= 8, key += 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    if (size > 0) {
        word = 0;
        memcpy(&word, key, (size_t)size);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return hash * UINT64_C(0x9E3779B97F4A7C15) >> (64 - TEXTS_BITS);
}

static inline bool
same(const char *one, const char *other, Py_ssize_t size)
{
    return size == 16 ? memcmp(one, other, 16) == 0 : memcmp(one, other, (size_t)size) == 0;
}

static PyObject *
text_of(Node *node, const char *at)
{
    TextTable *table = node->table;
    char key[CACHED_TEXT_SIZE]; /* the buffer may change between two looks */

    if (table == NULL) {
        return decode_text(at, node->size);
    }
    if (node->size == 16) {
        memcpy(key, at, 16);
    }
    else {
        memcpy(key, at, (size_t)node->size);
    }
    size_t slot = text_slot(key, node->size);
    char *known = table->keys + slot * (size_t)node->size;
    if (table->texts[slot] != NULL && same(known, key, node->size)) {
        return Py_NewRef(table->texts[slot]);
    }
    PyObject *text = decode_text(key, node->size);
    if (text != NULL) {
        memcpy(known, key, (size_t)node->size);
        Py_XSETREF(table->texts[slot], Py_NewRef(text));
    }
    return text;
}

static PyObject *
array_of(Node *node, const char *at, Py_ssize_t count)
{
    Node *element = node->nodes;
    PyObject *tuple = PyTuple_New(count);

    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = value_of(element, at);
        if (value == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, value);
        at += element->size;
    }
    if (count > 0 && !element->container) { /* the empty tuple is everybody's */
        PyObject_GC_UnTrack(tuple);
    }
    return tuple;
}

static inline PyObject **
slot_of(PyObject *instance, Py_ssize_t offset)
{
    return (PyObject **)((char *)instance + offset);
}

static PyObject *tail_of(Node *node, const char *base, Py_ssize_t length);

/* The value of a field; `length` is that of a record which may end in the field, or -1. */
static inline PyObject *
field_of(Node *field, const char *base, Py_ssize_t length)
{
    return length >= 0 && field->tail != WHOLE ? tail_of(field, base, length)
                                               : value_of(field, base);
}

static PyObject *
filled_struct(Node *node, const char *base, Py_ssize_t length)
{
    PyTypeObject *type = (PyTypeObject *)node->object;
    /* Neither is tracked by the garbage collector yet, and none of its slots is set. */
    PyObject *instance = PyType_IS_GC(type) ? PyObject_GC_New(PyObject, type)
                                            : PyObject_New(PyObject, type);

    if (instance == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *value = field_of(&node->nodes[i], base, length);
        if (value == NULL) {
            for (; i < node->count; i++) { /* no instance goes with a slot empty, even to its end */
                *slot_of(instance, node->slots[i]) = Py_NewRef(Py_None);
            }
            Py_DECREF(instance);
            return NULL;
        }
        *slot_of(instance, node->slots[i]) = value;
    }
    /* As msgspec does: one that refers to nothing which could refer back is not tracked. Should
     * somebody assign such a thing later, the class's own __setattr__ tracks it. */
    if (node->tracked && PyType_IS_GC(type)) {
        PyObject_GC_Track(instance);
    }
    return instance;
}

static PyObject *
called_struct(Node *node, const char *base, Py_ssize_t length)
{
    PyObject *on_stack[ON_STACK + 1], **values = on_stack, *instance = NULL;
    Py_ssize_t made = 0;

    if (node->count > ON_STACK) {
        values = PyMem_New(PyObject *, (size_t)node->count + 1);
        if (values == NULL) {
            return PyErr_NoMemory();
        }
    }
    for (; made < node->count; made++) {
        PyObject *value = field_of(&node->nodes[made], base, length);
        if (value == NULL) {
            break;
        }
        values[made + 1] = value;
    }
    if (made == node->count) {
        Py_ssize_t named = node->keywords == NULL ? 0 : PyTuple_GET_SIZE(node->keywords);
        size_t positional = (size_t)(node->count - named);
        instance = PyObject_Vectorcall(node->object, values + 1,
                                       positional | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                       node->keywords);
    }
    while (made > 0) {
        Py_DECREF(values[made--]);
    }
    if (values != on_stack) {
        PyMem_Free(values);
    }
    return instance;
}

static inline PyObject *
struct_of(Node *node, const char *base, Py_ssize_t length)
{
    return node->slots != NULL ? filled_struct(node, base, length)
                               : called_struct(node, base, length);
}

/* The value of a node in what begins at `base`. */
static PyObject *
value_of(Node *node, const char *base)
{
    const char *at = base + node->offset;
    union {
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        int8_t s8;
        int16_t s16;
        int32_t s32;
        int64_t s64;
    } word;

    switch (node->kind) {
    case U8:
        return PyLong_FromLong((unsigned char)*at);
    case U16:
        memcpy(&word, at, 2);
        return PyLong_FromLong(word.u16);
    case U32:
        memcpy(&word, at, 4);
        return familiar(node, word.u32);
    case U64:
        memcpy(&word, at, 8);
        return familiar(node, word.u64);
    case S8:
        return PyLong_FromLong((signed char)*at);
    case S16:
        memcpy(&word, at, 2);
        return PyLong_FromLong(word.s16);
    case S32:
        memcpy(&word, at, 4);
        return familiar(node, (uint64_t)(int64_t)word.s32);
    case S64:
        memcpy(&word, at, 8);
        return familiar(node, word.u64);
    case NUMBER:
        return number_of(node, at);
    case MEMBER:
        return member_of(node, at);
    case BOOLEAN:
        return PyBool_FromLong(is_true(node, at));
    case FLOAT:
        return float_of(node, at);
    case TEXT:
        return text_of(node, at);
    case BYTES:
        return PyBytes_FromStringAndSize(at, node->size);
    case ARRAY:
        return array_of(node, at, node->count);
    case STRUCT:
        return struct_of(node, at, -1);
    }
    Py_UNREACHABLE();
}

/* As value_of, of a field in which a record of `length` bytes may end. */
static PyObject *
tail_of(Node *node, const char *base, Py_ssize_t length)
{
    Py_ssize_t left = length - node->offset;

    if (node->tail == CUT && left > node->size) {
        left = node->size;
    }
    switch (node->kind) {
    case TEXT:
        return decode_text(base + node->offset, left);
    case BYTES:
        return PyBytes_FromStringAndSize(base + node->offset, left);
    default: /* an array: finish_layout has seen to that */
        return array_of(node, base + node->offset,
                        node->nodes[0].size > 0 ? left / node->nodes[0].size : 0);
    }
}

/* Records --------------------------------------------------------------------------------------- */

/* NULL without an exception is a record that is left to Python. */
static PyObject *
record_of(Plan *plan, const char *at, Py_ssize_t length)
{
    Layout *layout = plan->layouts;

    if (plan->tagged) {
        if (length < plan->tag.offset + plan->tag.size) {
            return NULL;
        }
        int64_t tag = (int64_t)bits_of(&plan->tag, at + plan->tag.offset);
        Layout *end = layout + plan->count;
        while (layout < end && layout->tag != tag) {
            layout++;
        }
        if (layout == end) {
            return NULL;
        }
    }
    Node *root = &layout->root;
    if (!layout->expressible || length < layout->least || length < layout->fixed) {
        return NULL;
    }
    if (length >= root->size && !layout->flexible) {
        return value_of(root, at);
    }
    /* Only a struct may end early; its fields other than the tail are below `fixed`. */
    return root->kind == STRUCT ? struct_of(root, at, length) : NULL;
}

/* The index of the first record of a run that is left to Python, -1 if there is none, or -2 with an
 * exception. */
static Py_ssize_t
decode_run(Plan *plan, const Py_buffer *buffer, const Run *run, Py_ssize_t index, PyObject *records)
{
    const char *at = (const char *)buffer->buf + run->offset + index * run->stride;

    for (; index < run->count; index++, at += run->stride) {
        PyObject *record = record_of(plan, at, run->length);
        if (record == NULL) {
            if (!PyErr_Occurred()) {
                return index;
            }
            if (PyErr_ExceptionMatches(PyExc_TypeError)
                || PyErr_ExceptionMatches(PyExc_ValueError)) {
                PyErr_Clear(); /* the class refuses the record: Python makes it an error of ours */
                return index;
            }
            return -2;
        }
        int failed = PyList_Append(records, record);
        Py_DECREF(record);
        if (failed < 0) {
            return -2;
        }
    }
    return -1;
}

static PyObject *
run_at(PyObject *runs, Py_ssize_t index)
{
#if PY_VERSION_HEX >= 0x030d0000
    return PyList_GetItemRef(runs, index);
#else
    return Py_XNewRef(PyList_GetItem(runs, index));
#endif
}

static PyObject *
decode_runs(Plan *plan, const Py_buffer *buffer, PyObject *runs, PyObject *records,
            Py_ssize_t number, Py_ssize_t index)
{
    Run run;

    for (; number < PyList_GET_SIZE(runs); number++, index = 0) {
        PyObject *object = run_at(runs, number);
        int failed = object == NULL ? -1 : read_run(object, buffer->len, &run);
        Py_XDECREF(object);
        if (failed < 0) {
            return NULL;
        }
        Py_ssize_t stopped = decode_run(plan, buffer, &run, index, records);
        if (stopped != -1) {
            return stopped < 0 ? NULL : Py_BuildValue("nn", number, stopped);
        }
    }
    return Py_NewRef(Py_None);
}

static PyObject *
plan_decode(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer buffer;
    Py_ssize_t number, index;
    PyObject *stopped = NULL;

    if (count != 5 || !PyList_Check(arguments[1]) || !PyList_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "decode() takes a buffer, two lists and two integers");
        return NULL;
    }
    number = PyLong_AsSsize_t(arguments[3]);
    index = PyLong_AsSsize_t(arguments[4]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (number < 0 || index < 0) {
        PyErr_SetString(PyExc_ValueError, "runs and records are counted from 0");
        return NULL;
    }
    if (PyObject_GetBuffer(arguments[0], &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    stopped = decode_runs((Plan *)self, &buffer, arguments[1], arguments[2], number, index);
    Py_END_CRITICAL_SECTION();
    PyBuffer_Release(&buffer);
    return stopped;
}

/* Making plans ---------------------------------------------------------------------------------- */

static void
clear_node(Node *node)
{
    Py_ssize_t count = node->kind == STRUCT ? node->count : node->kind == ARRAY ? 1 : 0;

    for (Py_ssize_t i = 0; node->nodes != NULL && i < count; i++) {
        clear_node(&node->nodes[i]);
    }
    if (node->table != NULL) {
        for (int i = 0; i < TEXTS; i++) {
            Py_XDECREF(node->table->texts[i]);
        }
        PyMem_Free(node->table->keys);
    }
    for (int i = 0; node->numbers.known != NULL && i < NUMBERS; i++) {
        Py_XDECREF(node->numbers.known[i].object);
    }
    PyMem_Free(node->numbers.known);
    node->numbers.known = NULL;
    PyMem_Free(node->table);
    PyMem_Free(node->nodes);
    PyMem_Free(node->slots);
    PyMem_Free(node->members);
    Py_CLEAR(node->object);
    Py_CLEAR(node->keywords);
    node->table = NULL;
    node->nodes = NULL;
    node->slots = NULL;
    node->members = NULL;
    node->count = 0;
}

static int
visit_node(Node *node, visitproc visit, void *arg)
{
    Py_ssize_t count = node->kind == STRUCT ? node->count : node->kind == ARRAY ? 1 : 0;

    for (Py_ssize_t i = 0; node->nodes != NULL && i < count; i++) {
        int result = visit_node(&node->nodes[i], visit, arg);
        if (result != 0) {
            return result;
        }
    }
    Py_VISIT(node->object);
    Py_VISIT(node->keywords);
    return 0;
}

static int make_node(Node *node, PyObject *description, bool big, Py_ssize_t room, int depth);

static int
refuse(const char *reason)
{
    PyErr_SetString(PyExc_ValueError, reason);
    return -1;
}

static Node *
new_nodes(Py_ssize_t count)
{
    Node *nodes = PyMem_Calloc((size_t)(count > 0 ? count : 1), sizeof(Node));
    if (nodes == NULL) {
        PyErr_NoMemory();
    }
    return nodes;
}

static int
make_bits(Node *node)
{
    if (node->size <= WIDEST_WORD
            ? node->width < 1 || node->width > 64 || node->shift > 63
                  || node->shift + node->width > 8 * (unsigned)node->size
            : node->size > WIDEST_INT || node->shift != 0
                  || node->width != 8 * (unsigned)node->size) {
        return refuse("no such bits");
    }
    return node->size < 1 ? refuse("a number of no bytes") : 0;
}

/* The members of small values, to be found without a look into the dict. */
static int
make_members(Node *node)
{
    PyObject *value, *member;
    Py_ssize_t position = 0;

    if (!PyDict_Check(node->object)) {
        return refuse("the members of an enum are a dict");
    }
    node->members = PyMem_Calloc(MEMBERS, sizeof(PyObject *));
    if (node->members == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (PyDict_Next(node->object, &position, &value, &member)) {
        if (!PyLong_Check(value)) {
            continue;
        }
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && number >= 0 && number < MEMBERS) {
            node->members[number] = member;
        }
    }
    node->count = MEMBERS;
    return 0;
}

static int
make_number(Node *node, PyObject *detail)
{
    PyObject *members;
    int is_signed;

    if (!PyArg_ParseTuple(detail, "pIIO", &is_signed, &node->shift, &node->width, &members)
        || make_bits(node) < 0) {
        return -1;
    }
    node->is_signed = is_signed;
    if (members != Py_None) {
        node->kind = MEMBER;
        node->object = Py_NewRef(members);
        return make_members(node);
    }
    node->kind = NUMBER;
    if (node->width == 8 * (unsigned)node->size
        && (node->big == BIG_ENDIAN_HERE || node->size == 1)) {
        switch (node->size) {
        case 1:
            node->kind = is_signed ? S8 : U8;
            break;
        case 2:
            node->kind = is_signed ? S16 : U16;
            break;
        case 4:
            node->kind = is_signed ? S32 : U32;
            break;
        case 8:
            node->kind = is_signed ? S64 : U64;
            break;
        }
    }
    return 0;
}

static int
make_text(Node *node)
{
    node->kind = TEXT;
    if (node->size == 0 || node->size > CACHED_TEXT_SIZE) {
        return 0;
    }
    node->table = PyMem_Calloc(1, sizeof(TextTable));
    if (node->table != NULL) {
        node->table->keys = PyMem_Malloc((size_t)node->size * TEXTS);
    }
    if (node->table == NULL || node->table->keys == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
make_array(Node *node, PyObject *detail, int depth)
{
    PyObject *element;
    Py_ssize_t count;

    if (!PyArg_ParseTuple(detail, "nO", &count, &element)) {
        return -1;
    }
    node->kind = ARRAY;
    node->nodes = new_nodes(1);
    if (node->nodes == NULL || make_node(node->nodes, element, node->big, PY_SSIZE_T_MAX, depth) < 0) {
        return -1;
    }
    if (count < 0 || node->nodes->offset != 0
        || (count > 0 && node->nodes->size > node->size / count)) {
        return refuse("the elements of an array lie outside of it");
    }
    node->count = count;
    node->container = node->nodes->container;
    return 0;
}

/* Where the fields of a class lie in its instances, if it is known of all that an instance has; else
 * the class will be called. */
static int
slots_of(Node *node, PyObject *names)
{
    PyTypeObject *type = (PyTypeObject *)node->object;
    Py_ssize_t first = (Py_ssize_t)sizeof(PyObject);

    if (type->tp_itemsize != 0 || type->tp_dictoffset != 0 || type->tp_weaklistoffset != 0
        || (type->tp_flags & OUTSIDE_OF_SLOTS)
        || type->tp_basicsize != first + node->count * (Py_ssize_t)sizeof(PyObject *)) {
        return 0;
    }
    Py_ssize_t *slots = PyMem_New(Py_ssize_t, (size_t)(node->count > 0 ? node->count : 1));
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < node->count; i++) {
        PyObject *found = PyObject_GetAttr(node->object, PyTuple_GET_ITEM(names, i));
        if (found == NULL) {
            PyMem_Free(slots);
            return -1;
        }
        PyMemberDescrObject *descriptor = (PyMemberDescrObject *)found;
        bool known = Py_IS_TYPE(found, &PyMemberDescr_Type)
                     && descriptor->d_member->type == OBJECT_SLOT
                     && PyType_IsSubtype(type, PyDescr_TYPE(descriptor));
        slots[i] = known ? descriptor->d_member->offset : -1;
        Py_DECREF(found);
        known = slots[i] >= first && slots[i] < type->tp_basicsize
                && (slots[i] - first) % (Py_ssize_t)sizeof(PyObject *) == 0;
        for (Py_ssize_t j = 0; known && j < i; j++) {
            known = slots[j] != slots[i];
        }
        if (!known) {
            PyMem_Free(slots);
            return 0;
        }
    }
    node->slots = slots;
    return 0;
}

static int
make_struct(Node *node, PyObject *detail, int depth)
{
    PyObject *class, *names, *fields;
    Py_ssize_t positional;
    int plain;

    if (!PyArg_ParseTuple(detail, "O!O!npO!", &PyType_Type, &class, &PyTuple_Type, &names,
                          &positional, &plain, &PyTuple_Type, &fields)) {
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(fields);
    if (PyTuple_GET_SIZE(names) != count || positional < 0 || positional > count) {
        return refuse("each field of a struct has a name");
    }
    node->kind = STRUCT;
    node->object = Py_NewRef(class);
    node->nodes = new_nodes(count);
    if (node->nodes == NULL) {
        return -1;
    }
    node->count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (make_node(&node->nodes[i], PyTuple_GET_ITEM(fields, i), node->big, node->size, depth)
            < 0) {
            return -1;
        }
        node->tracked |= node->nodes[i].container;
    }
    node->container = PyType_IS_GC((PyTypeObject *)class);
    if (positional < count) {
        node->keywords = PyTuple_GetSlice(names, positional, count);
        if (node->keywords == NULL) {
            return -1;
        }
    }
    return plain ? slots_of(node, names) : 0;
}

/* Makes a node of (kind, offset, size, detail), which lies within `room` bytes. */
static int
make_node(Node *node, PyObject *description, bool big, Py_ssize_t room, int depth)
{
    PyObject *kind, *detail;

    if (depth == 0) {
        return refuse("nested too deep");
    }
    if (!PyTuple_Check(description)) {
        PyErr_SetString(PyExc_TypeError, "a node is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(description, "UnnO", &kind, &node->offset, &node->size, &detail)) {
        return -1;
    }
    node->big = big;
    if (node->offset < 0 || node->size < 0 || node->offset > room || node->size > room - node->offset) {
        return refuse("a node lies outside of what it is in");
    }
    if (PyUnicode_CompareWithASCIIString(kind, "float") == 0) {
        node->kind = FLOAT;
        return node->size == 2 || node->size == 4 || node->size == 8 ? 0 : refuse("no such float");
    }
    if (PyUnicode_CompareWithASCIIString(kind, "text") == 0) {
        return make_text(node);
    }
    if (PyUnicode_CompareWithASCIIString(kind, "bytes") == 0) {
        node->kind = BYTES;
        return 0;
    }
    if (!PyTuple_Check(detail)) {
        PyErr_SetString(PyExc_TypeError, "the detail of a node is a tuple");
        return -1;
    }
    if (PyUnicode_CompareWithASCIIString(kind, "number") == 0) {
        return make_number(node, detail);
    }
    if (PyUnicode_CompareWithASCIIString(kind, "boolean") == 0) {
        node->kind = BOOLEAN;
        return PyArg_ParseTuple(detail, "II", &node->shift, &node->width) ? make_bits(node) : -1;
    }
    if (PyUnicode_CompareWithASCIIString(kind, "array") == 0) {
        return make_array(node, detail, depth - 1);
    }
    if (PyUnicode_CompareWithASCIIString(kind, "struct") == 0) {
        return make_struct(node, detail, depth - 1);
    }
    return refuse("no such kind of node");
}

/* Marks the fields that a record may end in, and sums up the others. */
static int
finish_layout(Layout *layout, PyObject *tails)
{
    Node *root = &layout->root;
    Py_ssize_t count = root->kind == STRUCT ? root->count : 0;

    if (PyTuple_GET_SIZE(tails) != count || root->offset != 0 || layout->least < 0) {
        return refuse("each field of a record says whether the record may end in it");
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Node *field = &root->nodes[i];
        long tail = PyLong_AsLong(PyTuple_GET_ITEM(tails, i));
        if (tail == -1 && PyErr_Occurred()) {
            return -1;
        }
        if (tail == WHOLE) {
            Py_ssize_t end = field->offset + field->size;
            layout->fixed = end > layout->fixed ? end : layout->fixed;
            continue;
        }
        if ((tail != CUT && tail != FLEXIBLE) || field->offset > layout->least
            || (field->kind != TEXT && field->kind != BYTES && field->kind != ARRAY)) {
            return refuse("a record can't end in this field");
        }
        field->tail = (Tail)tail;
        layout->flexible |= tail == FLEXIBLE;
    }
    return 0;
}

static int
make_layout(Layout *layout, PyObject *description, PyObject *tag, bool big)
{
    PyObject *root, *tails;

    layout->tag = tag == NULL ? 0 : PyLong_AsLongLong(tag);
    if (layout->tag == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (description == Py_None) {
        return 0;
    }
    if (!PyTuple_Check(description)) {
        PyErr_SetString(PyExc_TypeError, "a layout is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(description, "OnO!", &root, &layout->least, &PyTuple_Type, &tails)
        || make_node(&layout->root, root, big, PY_SSIZE_T_MAX, MAXIMUM_DEPTH) < 0) {
        return -1;
    }
    layout->expressible = true;
    return finish_layout(layout, tails);
}

/* Gives nodes their tables of numbers; without memory for them all goes on as well. */
static void
add_tables(Node *node, int *left)
{
    Py_ssize_t count = node->kind == STRUCT ? node->count : node->kind == ARRAY ? 1 : 0;
    bool fitting = node->kind == U32 || node->kind == U64 || node->kind == S32 || node->kind == S64;

    if (fitting && *left > 0) {
        --*left;
        node->numbers = (NumberTable){CREDIT, 0, PyMem_Calloc(NUMBERS, sizeof(Known))};
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        add_tables(&node->nodes[i], left);
    }
}

static PyObject *
plan_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords))
{
    PyObject *layouts, *tag, *tags;
    int big;

    if (!PyArg_ParseTuple(arguments, "O!pOO!:Plan", &PyTuple_Type, &layouts, &big, &tag,
                          &PyTuple_Type, &tags)) {
        return NULL;
    }
    Plan *plan = (Plan *)type->tp_alloc(type, 0);
    if (plan == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(layouts);
    plan->tagged = tag != Py_None;
    if (plan->tagged ? PyTuple_GET_SIZE(tags) != count : count != 1) {
        refuse("a plan has one layout, or a tag for each");
        goto failed;
    }
    if (plan->tagged
        && (make_node(&plan->tag, tag, big, PY_SSIZE_T_MAX, 1) < 0
            || (plan->tag.kind > NUMBER ? refuse("a tag is a number") : 0) < 0
            || (plan->tag.size > WIDEST_WORD ? refuse("a tag has 8 bytes at most") : 0) < 0)) {
        goto failed;
    }
    plan->layouts = PyMem_Calloc((size_t)(count > 0 ? count : 1), sizeof(Layout));
    if (plan->layouts == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (plan->count = 0; plan->count < count; plan->count++) {
        Py_ssize_t i = plan->count;
        if (make_layout(&plan->layouts[i], PyTuple_GET_ITEM(layouts, i),
                        plan->tagged ? PyTuple_GET_ITEM(tags, i) : NULL, big)
            < 0) {
            plan->count++; /* what was made of it is cleared too */
            goto failed;
        }
    }
    int tables = NUMBER_TABLES;
    for (Py_ssize_t i = 0; i < count; i++) {
        add_tables(&plan->layouts[i].root, &tables);
    }
    return (PyObject *)plan;
failed:
    Py_DECREF(plan);
    return NULL;
}

static int
plan_traverse(PyObject *self, visitproc visit, void *arg)
{
    Plan *plan = (Plan *)self;

    Py_VISIT(Py_TYPE(self));
    int tag_result = visit_node(&plan->tag, visit, arg);
    if (tag_result != 0) {
        return tag_result;
    }
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        int result = visit_node(&plan->layouts[i].root, visit, arg);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int
plan_clear(PyObject *self)
{
    Plan *plan = (Plan *)self;

    clear_node(&plan->tag);
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        plan->layouts[i].expressible = false;
        clear_node(&plan->layouts[i].root);
    }
    return 0;
}

static void
plan_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    plan_clear(self);
    PyMem_Free(((Plan *)self)->layouts);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef plan_methods[] = {
    {"decode", (PyCFunction)(void (*)(void))plan_decode, METH_FASTCALL,
     "Append the records of some runs to a list."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_doc, "How records become msgspec Structs."},
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_traverse, plan_traverse},
    {Py_tp_clear, plan_clear},
    {Py_tp_methods, plan_methods},
    {0, NULL},
};

static PyType_Spec plan_spec = {
    .name = "bpfstream._native.hot.Plan",
    .basicsize = sizeof(Plan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = plan_slots,
};

int
add_plan(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &plan_spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return failed;
}
