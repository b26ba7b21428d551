# The C types of core.py, and in C what it does without a call of Python's.

cimport cython

from poolctl.capture.state cimport ConnectionState, Lease, PoolState, blank
from poolctl.trace.tail cimport Tail

cdef extern from *:
    """
    #include <time.h>
    #include <frameobject.h>

    /* The clock of time.perf_counter_ns. */
    static inline long long poolctl_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }

    static int poolctl_is_frame(PyObject *frame) {
        if (PyFrame_Check(frame)) return 1;
        PyErr_SetString(PyExc_AttributeError, "no frame");
        return 0;
    }

    static PyObject *poolctl_back(PyObject *frame) {
        PyObject *back;
        if (!poolctl_is_frame(frame)) return NULL;
        back = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
        if (!back && !PyErr_Occurred()) Py_RETURN_NONE;
        return back;
    }

    static PyObject *poolctl_code_of(PyObject *frame) {
        PyObject *code;
        if (!poolctl_is_frame(frame)) return NULL;
        code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
        Py_DECREF(code);  /* the frame has it */
        return PyLong_FromVoidPtr(code);
    }

    static PyObject *poolctl_at_instruction(PyObject *frame) {
        if (!poolctl_is_frame(frame)) return NULL;
        return PyLong_FromLong(PyFrame_GetLasti((PyFrameObject *)frame));
    }

    static PyObject *poolctl_here(void) {
        PyObject *frame = (PyObject *)PyEval_GetFrame();
        if (!frame) frame = Py_None;
        Py_INCREF(frame);
        return frame;
    }
    """
    long long now "poolctl_now"() noexcept
    object address "PyLong_FromVoidPtr"(object)
    object back "poolctl_back"(object)
    object code_of "poolctl_code_of"(object)
    object at_instruction "poolctl_at_instruction"(object)
    object here "poolctl_here"()
    object _weakly "PyWeakref_NewRef"(object, void *)

cdef inline object weakly(object task):
    return _weakly(task, NULL)

cdef inline object put(
        Tail ring, unsigned long long at, unsigned long long lease, unsigned long long meta, unsigned long long first,
        unsigned long long second, unsigned long long third, unsigned long long fourth):
    return ring.put(at, lease, meta, first, second, third, fourth)

cdef inline unsigned long long number_of(object task) noexcept:
    return <unsigned long long><void *>task

cdef dict _tasks
cdef object _scope_now
cdef unsigned long long _ACQUIRED, _RETURNED, _NOT_SAMPLED
cdef long long _NO_STATEMENT, _CANCELLED, _OVERFLOW, _IDLE_NS, _LONGEST_NS


cdef class Core:
    cdef public object recorder
    cdef public Tail ring
    cdef public dict pools
    cdef public dict connections
    cdef public dict leases
    cdef public dict returning
    cdef public dict spent
    cdef public object opentelemetry
    cdef public dict codes
    cdef public dict statements
    cdef public set skipped
    cdef public object getcurrent
    cdef public unsigned long long numbers

    @cython.locals(lease=Lease, state=PoolState, requested_at=cython.longlong)
    cpdef object begin(self, object pool, object owner)

    cdef object _asked_by_task(self, Lease lease)
    cdef object _site(self)
    cdef object _known(self, object frame)

    @cython.locals(acquired_at=cython.longlong, took=cython.longlong, flags=cython.longlong, state=PoolState, connection=ConnectionState)
    cpdef object granted(self, Lease lease, object fairy)

    @cython.locals(connection=ConnectionState)
    cdef object _answered(self, Lease lease, object fairy, long long at, long long flags)
    cpdef object executing(self, object context)
    cpdef object ending(self, object dbapi_connection)

    @cython.locals(lease=Lease)
    cdef Lease _working(self, object fairy)

    @cython.locals(at=cython.longlong)
    cpdef object executed(self, Lease lease, object statement)

    @cython.locals(at=cython.longlong)
    cpdef object ended(self, Lease lease)

    @cython.locals(lease=Lease)
    cpdef object leaving(self, object fairy, object record)

    @cython.locals(at=cython.longlong, state=PoolState)
    cpdef object left(self, Lease lease, object fairy)

    cpdef object overhead(self, long long since)


cdef long long _count(long long number) noexcept
