# The C types of state.py.

cimport cython

cdef class PoolState

cdef class ConnectionState:
    cdef public unsigned long long number
    cdef public PoolState pool
    cdef public unsigned long long backend_pid
    cdef public unsigned long long record
    cdef public unsigned long long word
    cdef public bint used
    cdef public bint inherited
    cdef public bint news
    cdef public object ref


cdef class PoolState:
    cdef public unsigned long long number
    cdef public object ref
    cdef public long long size
    cdef public long long checked_out
    cdef public long long waiting
    cdef public long long open
    cdef public bint is_async
    cdef public bint shared
    cdef public object owner
    cdef public unsigned long long meta
    cdef public bint watched


@cython.final
@cython.freelist(16)
cdef class Lease:
    cdef public unsigned long long number
    cdef public PoolState pool
    cdef public unsigned long long site
    cdef public long long requested_at
    cdef public unsigned long long asked_by
    cdef public unsigned long long context
    cdef public long long waiting
    cdef public long long held
    cdef public long long opened
    cdef public bint told
    cdef public ConnectionState connection
    cdef public object task
    cdef public bint plain
    cdef public bint in_sql
    cdef public long long began_at
    cdef public long long statement
    cdef public long long started_at
    cdef public long long took
    cdef public long long control_at
    cdef public long long control_took
    cdef public long long sql
    cdef public long long closing_at
    cdef public long long reset
    cdef public bint sampled
    cdef public long long returned_at
    cdef public object guard
    cdef public long long flags
    cdef public long long statements
    cdef public long long transactions
    cdef public bint in_transaction
    cdef public bint detached

    cpdef object unfold(self)


cpdef Lease blank()


cdef class Spent:
    cdef public long long at
    cdef public long long wait
    cdef public long long connect
    cdef public long long closing
    cdef public long long closing_at
    cdef public long long got_at
    cdef public long long inside
    cdef public long long ping
    cdef public list opened
