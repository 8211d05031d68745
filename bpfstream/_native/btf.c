/* Where the types of a BTF lie, and which of them bear a name: twin of bpfstream/btf/index.py.
 *
 * All words are in the machine's own byte order. Buffers may belong to somebody who writes to them
 * meanwhile: what is read is checked after it was read, and each word is read once.
 */
#include "native.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPE_WORDS = 3, /* struct btf_type: name_off, info, size or type (linux/btf.h) */
    KINDS = 128,    /* btf_type.info: kind_flag in bit 31, kind in 24 to 30, vlen below */
    KIND_SHIFT = 24,
    VLEN_MASK = 0xffffff,
};

#define UNKNOWN UINT32_MAX

static inline uint32_t
word_at(const Py_buffer *buffer, size_t index)
{
    uint32_t word; /* a slice of a file need not be aligned */
    memcpy(&word, (const char *)buffer->buf + 4 * index, 4);
    return word;
}

static inline size_t
words_in(const Py_buffer *buffer)
{
    return (size_t)buffer->len / 4;
}

/* Starts of the records into `starts`, which has room for one each TYPE_WORDS words and one more.
 * Gives their number, or -1 where pure Python has to say what is wrong. */
static Py_ssize_t
walk(const Py_buffer *words, const Py_buffer *trailers, char *starts)
{
    size_t end = words_in(words), count = 0;
    uint64_t word = 0;

    while (word < end) {
        uint32_t start = (uint32_t)word;
        if (end - word < TYPE_WORDS) {
            return -1;
        }
        uint32_t info = word_at(words, word + 1);
        size_t kind = info >> KIND_SHIFT & (KINDS - 1);
        uint32_t once = word_at(trailers, 2 * kind);
        if (once == UNKNOWN) {
            return -1;
        }
        memcpy(starts + 4 * count++, &start, 4);
        word += TYPE_WORDS + once + (uint64_t)word_at(trailers, 2 * kind + 1) * (info & VLEN_MASK);
    }
    return word == end ? (Py_ssize_t)count : -1;
}

static PyObject *
locate_types(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer words, trailers;
    PyObject *starts = NULL;

    if (!PyArg_ParseTuple(arguments, "y*y*:locate_types", &words, &trailers)) {
        return NULL;
    }
    if (words_in(&trailers) != 2 * KINDS || words_in(&words) > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a table of 128 pairs and less than 2**32 words");
        goto done;
    }
    starts = PyBytes_FromStringAndSize(NULL, 4 * (words.len / (4 * TYPE_WORDS) + 1));
    if (starts == NULL) {
        goto done;
    }
    Py_ssize_t count = walk(&words, &trailers, PyBytes_AS_STRING(starts));
    if (count < 0) {
        Py_SETREF(starts, Py_NewRef(Py_None));
    }
    else {
        _PyBytes_Resize(&starts, 4 * count); /* gives NULL if it fails */
    }
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&trailers);
    return starts;
}

static PyObject *
pick_words(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer words, places;
    PyObject *picked = NULL;

    if (!PyArg_ParseTuple(arguments, "y*y*:pick_words", &words, &places)) {
        return NULL;
    }
    size_t end = words_in(&words), count = words_in(&places);
    picked = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(4 * count));
    if (picked == NULL) {
        goto done;
    }
    char *into = PyBytes_AS_STRING(picked);
    for (size_t i = 0; i < count; i++) {
        uint32_t place = word_at(&places, i);
        if (place >= end) {
            PyErr_Format(PyExc_IndexError, "word %u of %zu", (unsigned)place, end);
            Py_CLEAR(picked);
            break;
        }
        uint32_t word = word_at(&words, place);
        memcpy(into + 4 * i, &word, 4);
    }
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&places);
    return picked;
}

static int
append_number(PyObject *list, size_t number)
{
    PyObject *object = PyLong_FromSize_t(number);
    int failed = object == NULL || PyList_Append(list, object) < 0;
    Py_XDECREF(object);
    return failed ? -1 : 0;
}

/* Whether `wanted` is one of the words of `sorted`. */
static int
is_among(uint32_t wanted, const Py_buffer *sorted)
{
    size_t low = 0, high = words_in(sorted);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint32_t word = word_at(sorted, middle);
        if (word == wanted) {
            return 1;
        }
        if (word < wanted) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return 0;
}

static PyObject *
find_words(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer words, wanted;

    if (!PyArg_ParseTuple(arguments, "y*y*:find_words", &words, &wanted)) {
        return NULL;
    }
    PyObject *numbers = PyList_New(0);
    size_t count = words_in(&words);
    if (numbers != NULL && words_in(&wanted) == 1) { /* the way of nearly all: one name, one place */
        uint32_t only = word_at(&wanted, 0);
        for (size_t i = 0; i < count; i++) {
            if (word_at(&words, i) == only && append_number(numbers, i) < 0) {
                Py_CLEAR(numbers);
                break;
            }
        }
    }
    else if (numbers != NULL) {
        for (size_t i = 0; i < count; i++) {
            if (is_among(word_at(&words, i), &wanted) && append_number(numbers, i) < 0) {
                Py_CLEAR(numbers);
                break;
            }
        }
    }
    PyBuffer_Release(&words);
    PyBuffer_Release(&wanted);
    return numbers;
}

static PyObject *
any_inside(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer strings, offsets;
    Py_ssize_t start, end;
    unsigned long long first;
    PyObject *found = Py_False;

    if (!PyArg_ParseTuple(arguments, "y*nnKy*:any_inside", &strings, &start, &end, &first,
                          &offsets)) {
        return NULL;
    }
    if (start < 0 || end < start || end > strings.len) {
        PyErr_SetString(PyExc_ValueError, "the table lies outside of the data");
        found = NULL;
    }
    else {
        const char *text = (const char *)strings.buf + start;
        size_t size = (size_t)(end - start), count = words_in(&offsets);
        for (size_t i = 0; i < count; i++) {
            uint64_t offset = word_at(&offsets, i);
            if (offset > first && offset - first < size && text[offset - first - 1] != 0) {
                found = Py_True;
                break;
            }
        }
    }
    PyBuffer_Release(&strings);
    PyBuffer_Release(&offsets);
    return Py_XNewRef(found);
}

/* The last of the separators "___" of each string that has a flavour. Neither an underscore nor the
 * string's end stands beside it, so that it is a run of just three: every third byte is looked at. */
static PyObject *
find_flavours(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer strings;
    Py_ssize_t start, end;
    PyObject *cuts = NULL;

    if (!PyArg_ParseTuple(arguments, "y*nn:find_flavours", &strings, &start, &end)) {
        return NULL;
    }
    if (start < 0 || end < start || end > strings.len) {
        PyErr_SetString(PyExc_ValueError, "the table lies outside of the data");
        goto done;
    }
    cuts = PyList_New(0);
    const char *text = strings.buf;
    Py_ssize_t previous = -1;
    for (Py_ssize_t i = start + 2; cuts != NULL && i < end; i += 3) {
        if (text[i] != '_') {
            continue;
        }
        Py_ssize_t first = i, after = i + 1;
        while (first > start && text[first - 1] == '_') {
            first--;
        }
        while (after < end && text[after] == '_') {
            after++;
        }
        i = after - 1; /* no separator begins before */
        if (after - first != 3 || first == start || text[first - 1] == 0 || after == end
            || text[after] == 0) {
            continue;
        }
        PyObject *cut = PyLong_FromSsize_t(first);
        int failed = cut == NULL;
        if (!failed && previous >= 0
            && memchr(text + previous, 0, (size_t)(first - previous)) == NULL) {
            Py_ssize_t last = PyList_GET_SIZE(cuts) - 1;
            failed = PyList_SetSlice(cuts, last, last + 1, NULL) < 0;
        }
        failed = failed || PyList_Append(cuts, cut) < 0;
        Py_XDECREF(cut);
        if (failed) {
            Py_CLEAR(cuts);
        }
        previous = first;
    }
done:
    PyBuffer_Release(&strings);
    return cuts;
}

static PyMethodDef functions[] = {
    {"locate_types", locate_types, METH_VARARGS, "The word at which each type begins."},
    {"pick_words", pick_words, METH_VARARGS, "The words at some places."},
    {"find_words", find_words, METH_VARARGS, "The places of some words."},
    {"any_inside", any_inside, METH_VARARGS, "Some offset lies within a string."},
    {"find_flavours", find_flavours, METH_VARARGS, "Where essential names end."},
    {NULL, NULL, 0, NULL},
};

int
add_btf(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
