"""The keeper of an embedded PostgreSQL: a process that outlives a killed poolctl just long enough to clean up.

In: the directory of the binaries on the command line, a pipe on stdin. Out: one JSON line on stdout, `{"host",
"directory", "log", "pid"}` or `{"error", "hint", "output"}`; then nothing until stdin closes, which is the order to
stop. Run as a file by `poolctl.target.embedded`; standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = {
    # A rehearsal database lives for one run: nothing of it has to survive a crash of the machine.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "listen_addresses": "",
    "log_destination": "stderr",
    "log_min_messages": "warning",
}
"""Where the embedded server differs from a stock PostgreSQL."""

UNPRIVILEGED = "nobody"
"""The user PostgreSQL runs as when poolctl is root, which PostgreSQL refuses; no user is created for it."""

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 100
"""sun_path holds 108 bytes on Linux, 104 elsewhere; PostgreSQL adds `.lock` to a file beside it."""

START_S = 60.0
FAST_STOP_S = 5.0
IMMEDIATE_STOP_S = 2.0
REMOVE_S = 2.0
PR_SET_PDEATHSIG = 1
SEGMENT = "/dev/shm/PostgreSQL."  # noqa: S108 - where glibc keeps POSIX shared memory
"""What the names of PostgreSQL's dynamic shared memory begin with; a server that is killed leaves it there."""


class RefusedError(Exception):
    """The server cannot be had: message, hint, and whether the place to write was at fault."""

    def __init__(self, message: str, hint: str = "", *, output: bool = False) -> None:
        super().__init__(message)
        self.answer = {"error": message, "hint": hint, "output": output}


class StoppedError(Exception):
    """The order to stop came while the server was starting."""


def main(binaries: Path) -> int:
    """Start a server, answer, wait for the order to stop, stop it and remove what it left."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is poolctl's to handle
    signal.signal(signal.SIGTERM, _terminated)
    made: list[Path] = []
    server: subprocess.Popen[bytes] | None = None
    segments: set[str] = set()
    try:
        account = _account() if os.geteuid() == 0 else None
        home = _make_directory(Path(tempfile.gettempdir()), account, made)
        binaries = _reachable(binaries, home, account)
        sockets = home
        if len(os.fsencode(home / SOCKET)) > SOCKET_PATH_BYTES:
            sockets = _make_directory(Path("/tmp"), account, made)  # noqa: S108 - private (0700) directory below it
        data, log = home / "data", home / "log"
        _initdb(binaries, data, account)
        server = _start(binaries, data, sockets, log, account)
        segments = _segments_of(server.pid)
        _answer({"host": str(sockets), "directory": str(home), "log": str(log), "pid": server.pid})
        looks = 4  # its children map more of it in their first second
        while not _ordered_to_stop(0.5):
            server.poll()  # reaps a server that died: the directory stays for its log until the order comes
            if looks > 0:
                looks, segments = looks - 1, segments | _segments_of(server.pid)
    except StoppedError:
        pass
    except RefusedError as error:
        _answer(error.answer)
    except OSError as error:
        _answer({"error": f"cannot start the embedded PostgreSQL: {error}", "hint": "give --url", "output": False})
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server is not None:
            _stop(server)
        _forget(segments)
        for directory in made:
            _remove(directory)
    return 0


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise RefusedError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED!r}",
            "run poolctl as a normal user, or name a database with --url",
        ) from None


def _make_directory(parent: Path, account: pwd.struct_passwd | None, made: list[Path]) -> Path:
    hint = "set TMPDIR to a directory you can write, with 100 MB free"
    try:
        path = Path(tempfile.mkdtemp(prefix="poolctl-pg-", dir=parent))
        made.append(path)
        if account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)
    except OSError as error:
        raise RefusedError(f"cannot write to {parent}: {error.strerror}", hint, output=True) from None
    if account is not None and not _open_to_all(path.parent):
        raise RefusedError(
            f"{parent} cannot be entered by the user {account.pw_name!r} that PostgreSQL runs as",
            "set TMPDIR to a directory that everybody may enter, such as /tmp",
            output=True,
        )
    return path


def _open_to_all(directory: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))


def _reachable(binaries: Path, home: Path, account: pwd.struct_passwd | None) -> Path:
    """Return a directory of the binaries that the server's user may enter: a copy when they lie under /root."""
    binaries = binaries.resolve()
    if account is None or _open_to_all(binaries):
        return binaries
    package = binaries.parent.parent
    copy = home / "postgresql"
    try:
        # The libraries are found relative to the binaries (RPATH $ORIGIN/../../../<package>.libs): keep the layout.
        shutil.copytree(binaries.parent, copy / package.name / binaries.parent.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise RefusedError(
            f"cannot copy PostgreSQL to {copy}: {getattr(error, 'strerror', None) or 'no space or no permission'}",
            "set TMPDIR to a directory with 200 MB free",
            output=True,
        ) from None
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return copy / package.name / binaries.parent.name / binaries.name


def _initdb(binaries: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    options = [
        "--username=postgres",
        "--auth=trust",
        "--no-locale",
        "--encoding=UTF8",
        "--no-sync",
        "--no-instructions",
    ]
    output = data.with_name("initdb")
    with output.open("wb") as sink:
        process = _run([str(binaries / "initdb"), "-D", str(data), *options], sink, account)
        _wait(lambda: process.poll() is not None, process)
    if process.returncode != 0:
        raise _refusal(output.read_text(errors="replace"), data)


def _start(
    binaries: Path, data: Path, sockets: Path, log: Path, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    settings = [f"-c{name}={value}" for name, value in {**SETTINGS, "unix_socket_directories": str(sockets)}.items()]
    with log.open("ab") as sink:
        server = _run([str(binaries / "postgres"), "-D", str(data), *settings], sink, account)
    try:
        _wait(lambda: _ready(data, server.pid) or server.poll() is not None, server)
    except BaseException:
        _stop(server)
        raise
    if server.returncode is not None:
        raise _refusal(log.read_text(errors="replace"), data)
    return server


def _ready(data: Path, pid: int) -> bool:
    """The postmaster writes its state into line 8 of postmaster.pid (`pg_ctl -w` waits for the same)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _run(command: list[str], sink: Any, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    who: dict[str, Any] = {}
    if account is not None:
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return subprocess.Popen(  # noqa: S603 - our own binaries
        command,
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={**environment, "TZ": "UTC", "LC_ALL": "C"},
        preexec_fn=_die_with_keeper,
        start_new_session=True,
        **who,
    )


def _die_with_keeper() -> None:
    """Have the kernel order an immediate shutdown should the keeper itself be killed (Linux; elsewhere: nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


def _wait(done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not done():
        late = time.monotonic() > deadline
        if late or _ordered_to_stop(0.01):
            # The whole group (see _run): initdb works through children, which would go on writing after it.
            os.killpg(process.pid, signal.SIGSTOP)
            segments = _segments(lambda pid: os.getpgid(pid) == process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _forget(segments)
            if late:
                raise RefusedError(f"the embedded PostgreSQL did not start within {START_S:g} s", "give --url")
            raise StoppedError


def _refusal(output: str, data: Path) -> RefusedError:
    wrong = re.search(r"(?:FATAL|PANIC|ERROR|error): +(.*)", output)
    message = wrong[1] if wrong else " ".join(output.split())[-200:] or "no message"
    # PostgreSQL names a short write by its size, not by ENOSPC.
    full = any(sign in output for sign in ("No space left", "Disk quota", "could not extend file"))
    if full:
        message = "no space left on the device"
    return RefusedError(
        f"cannot write {data}: {message}" if full else f"cannot start the embedded PostgreSQL: {message}",
        "free some space, or set TMPDIR to a directory with 100 MB free"
        if full
        else "give --url to use another server",
        output=full,
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop fast (sessions are cut, the log is written), then immediately, then by force."""
    for number, patience in ((signal.SIGINT, FAST_STOP_S), (signal.SIGQUIT, IMMEDIATE_STOP_S), (signal.SIGKILL, 5.0)):
        if server.poll() is not None:
            return
        server.send_signal(number)
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _remove(directory: Path) -> None:
    """Remove the tree, again while a process that was just killed still writes into it."""
    deadline = time.monotonic() + REMOVE_S
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.01)


def _segments(belongs: Callable[[int], bool]) -> set[str]:
    """Return the shared memory that these processes have mapped, as files (Linux; elsewhere: none)."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone
            if belongs(int(entry.name)):
                lines = (entry / "maps").read_text(errors="replace").splitlines()
                found |= {SEGMENT + line.rpartition(SEGMENT)[2] for line in lines if SEGMENT in line}
    return found


def _segments_of(server: int) -> set[str]:
    return _segments(lambda pid: server in (pid, _parent(pid)))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _forget(segments: set[str]) -> None:
    for segment in segments:
        Path(segment).unlink(missing_ok=True)


def _ordered_to_stop(patience: float) -> bool:
    """Whether stdin is closed: by poolctl, or by the kernel when poolctl is gone."""
    readable, _, _ = select.select([0], [], [], patience)
    return bool(readable) and os.read(0, 4096) == b""


def _terminated(_number: int, _frame: object) -> None:
    raise StoppedError


def _answer(answer: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except OSError:
        raise StoppedError from None  # nobody listens any more


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
