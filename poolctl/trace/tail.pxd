# The C types of tail.py. What is declared here and nowhere in the .py is C.

cimport cython

cdef extern from *:
    """
    #include <stdint.h>

    /* The sequence goes first and comes back last, for a reader in another process. */
    static inline void poolctl_store(unsigned long long *words, uint64_t at, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                     uint64_t e, uint64_t f, uint64_t g, uint64_t sequence) {
        unsigned long long *record = words + at;
        __atomic_store_n(record + 7, 0, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
        record[0] = a;
        record[1] = b;
        record[2] = c;
        record[3] = d;
        record[4] = e;
        record[5] = f;
        record[6] = g;
        __atomic_store_n(record + 7, sequence, __ATOMIC_RELEASE);
    }

    /* The buffer stays where it is as long as its object lives, and Tail keeps that. */
    static inline unsigned long long *poolctl_address(PyObject *body) {
        Py_buffer view;
        unsigned long long *address;
        if (PyObject_GetBuffer(body, &view, PyBUF_WRITABLE) < 0) return NULL;
        address = (unsigned long long *)view.buf;
        PyBuffer_Release(&view);
        return address;
    }
    """
    void store "poolctl_store"(
        unsigned long long *, unsigned long long, unsigned long long, unsigned long long, unsigned long long,
        unsigned long long, unsigned long long, unsigned long long, unsigned long long, unsigned long long) noexcept
    unsigned long long *address "poolctl_address"(object) except NULL


cdef class Tail:
    cdef public object body
    cdef public unsigned long long mask
    cdef public unsigned long long following
    cdef unsigned long long *words_at

    @cython.locals(sequence=cython.ulonglong)
    cdef object put(
        self, unsigned long long at, unsigned long long lease, unsigned long long meta, unsigned long long first,
        unsigned long long second, unsigned long long third, unsigned long long fourth)
    cpdef object aim(self, object body, unsigned long long records)
