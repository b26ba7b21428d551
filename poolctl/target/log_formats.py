"""Log formats: who wrote a line, and when, in whatever format the application logs.

In: lines that say something of a pool. Out: `Entry`: the message with its instant, process, thread or task and pool.
`Layout` is learned from a sample of lines: which of the times, which of the numbers. Knows no life cycle.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from poolctl.target import log_fields
from poolctl.target.log_fields import Fields
from poolctl.target.log_messages import Message, What, find_message
from poolctl.target.log_times import Clock, all_times, without_times

SAMPLE = 512
"""Lines from which the layout is learned."""

LARGEST_PID = 4_194_304
"""Linux's PID_MAX_LIMIT; a thread's number is an address, and larger."""
MOST_PROCESSES = 4096
MOST_WRITERS = 16_384
"""Writers that are remembered at once."""

_INTS = re.compile(r"(?<![\w.-])\d+(?![\w.])")
_PID = re.compile(r"(?:\b(?:pid|process|process_?id|proc)\s*[=:#]\s*\"?'?|\w\[)(\d+)", re.IGNORECASE)
_TID = re.compile(r"\b(?:tid|thread|thread_?id|ident)\s*[=:#]\s*\"?'?(\d+)", re.IGNORECASE)
_TASK_NAME = re.compile(r"\btask(?:_?name)?\s*[=:]\s*\"?'?([^\s\"',;\])}]+)", re.IGNORECASE)
_TASK_NUMBER = re.compile(r"\bTask-\d+\b")
_NO_TASK = ("Task", "None", "null", "-")
_PROCESS_NAME = re.compile(r"\b((?:Spawn|Fork|ForkServer)?(?:Process|PoolWorker)-\d+(?::\d+)*)\b")
_THREAD_NAME = re.compile(r"\b(MainThread|Thread-\d+|ThreadPoolExecutor-\d+_\d+|Dummy-\d+|asyncio_\d+)\b")
_SOURCE = re.compile(r"^(?:\[pod/([^\]]+)\] |([\w][\w.-]*?-\d+|[\w.-]+\.\d+\.\w+)\s+\| )")
_LOGGER = re.compile(r"\b(sqlalchemy\.pool|psycopg\.pool)(?:\.impl)?(?:\.([A-Za-z_]\w*))?(?:\.([^\s\]\"',;:|)}]+))?")
_SAME_LINE = {What.HARD_CLOSING: What.CLOSING}
"""Kinds of message that one line of SQLAlchemy's source logs."""
APPLICATIONS = (What.LIMIT, What.TIMEOUT)
"""What an application says, or its traceback, by whatever logger."""
COMMON = (
    What.CREATED,
    What.CLOSING,
    What.HARD_CLOSING,
    What.INVALIDATE,
    What.CONNECT_FAILED,
    What.OTHER,
    What.NAMELESS,
)
"""What other libraries say in the same words; without a pool's logger it counts for nothing where lines name theirs."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Said(NamedTuple):
    """A line that says something of a pool, taken apart as far as that needs no layout."""

    text: str
    message: Message
    outside: str
    """What stands around the message."""
    fields: Fields | None


class Entry(NamedTuple):
    """One thing that a pool said."""

    message: Message
    text: str
    at: int | None
    """Nanoseconds since 1970; None: the line has no time."""
    process: tuple[str, int | str]
    """Where the line came from (container, pod), and the process's number, or name; "" and 0 where it is not told."""
    thread: int | str
    """0: not told."""
    task: str
    pool_class: str
    """"?": not told."""
    pool_name: str
    """The pool's logging name."""
    trace: int
    context: str


class Writer(NamedTuple):
    """Who wrote a line, apart from its task's number."""

    named: bool
    """A pool's logger did."""
    process: tuple[str, int | str]
    thread: int | str
    task: str
    pool_class: str
    pool_name: str


def take_apart(text: str) -> Said | None:
    """Return what a line says of a pool, or None; containers' envelopes and colours are taken off."""
    text, found = _unwrap(text)
    if found is not None:
        before, fields = found
        inner = log_fields.field(fields, "message")
        said = find_message(str(inner)) if inner is not None else None
        if said is not None:
            inner = str(inner)
            return Said(inner, said, f"{before} {inner[: said.start]} \0 {inner[said.end :]}", fields)
    message = find_message(text)
    if message is None:
        return None
    return Said(text, message, f"{text[: message.start]}\0{text[message.end :]}", None)


def _unwrap(text: str) -> tuple[str, tuple[str, Fields] | None]:
    """Return a line without colours and Docker's own envelope, and the JSON object in it, if any."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    found = log_fields.object_of(text) if "{" in text else None
    if found is not None and "log" in found[1] and "stream" in found[1]:
        text = f"{found[0]} {found[1].get('time', '')} {str(found[1]['log']).rstrip()}"
        found = log_fields.object_of(text)
    return text, found


@dataclass
class Layout:
    """How this log's lines are written, learned from a sample."""

    now: datetime
    clock: Clock = field(init=False)
    json_time: bool = False
    """Most lines are JSON, with a time of their own."""
    names_loggers: bool = False
    """Lines say which logger wrote them, so that another library's "Closing connection" is known as such."""
    pid_keyed: bool = False
    pid_at: int = -1
    """Which of a line's bare numbers is the process's; -1: none."""
    thread_at: int = -1
    process_named: bool = False
    several_times: bool = False
    _writers: dict[str, Writer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock(self.now)

    @property
    def names_processes(self) -> bool:
        """The lines say which process wrote them."""
        return self.pid_keyed or self.pid_at >= 0 or self.process_named

    def learn(self, sample: Sequence[Said]) -> None:
        """Learn the layout from lines that pools wrote."""
        self.names_loggers = any(_logger(said) for said in sample)
        texts = [said for said in sample if said.fields is None or _time(said) is None]
        self.json_time = len(texts) < len(sample) / 2
        self.clock.learn(said.outside for said in texts)
        self.several_times = any(len(all_times(said.outside)) > 1 for said in sample)
        plain = [(said, self._cut(said.outside)[1]) for said in sample]
        keyed = sum(bool(_PID.search(text)) for _, text in plain)
        self.pid_keyed = keyed > len(plain) / 2
        self._learn_numbers(plain)
        if not self.pid_keyed and self.pid_at < 0:
            self.process_named = any(_PROCESS_NAME.search(text) for _, text in plain)
        for said in sample:
            if said.fields is not None and log_fields.field(said.fields, "process") is not None:
                self.process_named = True

    def _cut(self, outside: str) -> tuple[int | None, str]:
        """Return a line's time, and what stands around its message without it and any other."""
        read = self.clock.read(outside)
        if read is not None:
            outside = f"{outside[: read[1]]} {outside[read[2] :]}"
        return (None if read is None else read[0]), without_times(outside) if self.several_times else outside

    def _learn_numbers(self, plain: Sequence[tuple[Said, str]]) -> None:
        """Find the columns of bare numbers that are a process's or a thread's.

        A line number is one, too: no two kinds of message share one.
        """
        columns: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        rows = 0
        for said, text in plain:
            if said.fields is None:
                rows += 1
                for place, number in enumerate(_INTS.findall(text)):
                    columns[place][_SAME_LINE.get(said.message.what, said.message.what)].add(int(number))
        for place, kinds in sorted(columns.items()):
            numbers = set().union(*kinds.values())
            line_number = 1 < len(numbers) == sum(len(seen) for seen in kinds.values()) and len(kinds) > 1
            if line_number or len(numbers) > MOST_PROCESSES:
                continue
            if min(numbers) > LARGEST_PID:
                self.thread_at = place if self.thread_at < 0 else self.thread_at
            elif self.pid_at < 0 and not self.pid_keyed and min(numbers) > 0 and len(numbers) <= max(1, rows // 2):
                self.pid_at = place

    def read(self, said: Said) -> Entry | None:
        """Return what a line says; None: another library wrote it."""
        outside, fields = said.outside, said.fields
        at = None if fields is None else self.clock.value(log_fields.field(fields, "time"))
        if at is None:
            at, outside = self._cut(outside)
        task = ""
        if "Task-" in outside and (numbered := _TASK_NUMBER.search(outside)):
            task = numbered[0]
            outside = f"{outside[: numbered.start()]}Task{outside[numbered.end() :]}"
        if fields is not None:
            writer = self._writer(said, outside)
        else:  # but for its time and its task, one writer's lines begin alike
            known = self._writers.get(outside)
            if known is None:
                if len(self._writers) >= MOST_WRITERS:
                    self._writers.clear()
                known = self._writers[outside] = self._writer(said, outside)
            writer = known
        if self.names_loggers and not writer.named and said.message.what in COMMON:
            return None
        return Entry(
            said.message,
            said.text,
            at,
            writer.process,
            writer.thread,
            task or writer.task,
            writer.pool_class,
            writer.pool_name,
            0 if fields is None else _trace(fields),
            "" if fields is None else str(log_fields.field(fields, "context") or ""),
        )

    def instant(self, text: str) -> int | None:
        """Return when any line of the log was written, in nanoseconds since 1970; None: it does not say."""
        text, found = _unwrap(text)
        if found is not None and self.json_time:
            return self.clock.value(log_fields.field(found[1], "time"))
        read = self.clock.read(text)
        return None if read is None else read[0]

    def _writer(self, said: Said, outside: str) -> Writer:
        named = _logger(said)
        source = _SOURCE.search(outside)
        pid, thread, task = (0, 0, "") if said.fields is None else _of_fields(said.fields)
        if not pid:
            pid = self._pid(outside)
        if not thread:
            numbers = _INTS.findall(outside) if self.thread_at >= 0 else []
            match = _TID.search(outside) or _THREAD_NAME.search(outside)
            if 0 <= self.thread_at < len(numbers):
                thread = int(numbers[self.thread_at])
            elif match:
                thread = _whole(match[1])
        if not task and (keyed := _TASK_NAME.search(outside)):
            task = keyed[1]
        return Writer(
            bool(named),
            ((source[1] or source[2]) if source else "", pid),
            thread,
            "" if task in _NO_TASK else task,
            (named[2] or ("psycopg_pool" if named[1] == "psycopg.pool" else "?")) if named else "?",
            (named[3] or "") if named else "",
        )

    def _pid(self, outside: str) -> int | str:
        if self.pid_keyed:
            match = _PID.search(outside)
            return int(match[1]) if match else 0
        if self.pid_at >= 0:
            numbers = _INTS.findall(outside)
            whole = len(numbers) > max(self.pid_at, self.thread_at)  # or the line is torn, and its columns are others
            return int(numbers[self.pid_at]) if whole else 0
        match = _PROCESS_NAME.search(outside) if self.process_named else None
        return match[1] if match else 0


def number_of(name: int | str) -> int:
    """Return a thread's or task's number for the trace; other names get one that the same name always gets."""
    if isinstance(name, int):
        return name & 0xFFFF_FFFF_FFFF_FFFF
    prefix, _, digits = name.partition("-")
    if prefix == "Task" and digits.isdigit():
        return (1 << 62) + int(digits)
    return (1 << 61) + zlib.crc32(name.encode())


def _logger(said: Said) -> re.Match[str] | None:
    if said.fields is not None:
        name = log_fields.field(said.fields, "logger")
        if name is not None:
            return _LOGGER.match(str(name))
    match = _LOGGER.search(said.outside)
    # Behind a reason all the rest of the line counts as the exception's text, a logger's name at its end included.
    return match or _LOGGER.search(said.text, said.message.start)


def _time(said: Said) -> int | None:
    return None if said.fields is None else Clock(datetime.now(UTC)).value(log_fields.field(said.fields, "time"))


def _of_fields(fields: Fields) -> tuple[int | str, int | str, str]:
    pid, thread = (log_fields.field(fields, role) or 0 for role in ("process", "thread"))
    task = log_fields.field(fields, "task")
    return _whole(pid), _whole(thread), "" if task is None else str(task)


def _whole(value: object) -> int | str:
    if isinstance(value, int):
        return int(value)
    text = str(value)
    return int(text) if text.isdigit() else text


def _trace(fields: Fields) -> int:
    """Return the trace id of a JSON line; 0: none."""
    value = log_fields.field(fields, "trace")
    if value is None:
        return 0
    text = str(value).replace("-", "").removeprefix("0x")
    return int(text, 16) if re.fullmatch(r"[0-9a-fA-F]{16,32}", text) else 0
