"""Python in processes of their own, with limits, and what a process holds."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="limits, faults and /proc as Linux has them"
)
HERE = Path(__file__).parent
TIME_LIMIT = 120  # seconds for any child
MEGABYTE = 2**20


def _command(code, arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def _environment():
    paths = [str(HERE), str(HERE.parent), *sys.path]
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
    }


def run(code, *arguments, **options):
    """Run a program and return how it ended; it may import what the tests import."""
    options = {"timeout": TIME_LIMIT, **options}
    return subprocess.run(
        _command(code, arguments),
        env=_environment(),
        capture_output=True,
        text=True,
        **options,
    )


def start(code, *arguments):
    """Start a program whose output can be read as it comes."""
    return subprocess.Popen(
        _command(code, arguments),
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(child, number=signal.SIGKILL):
    """Send a signal, and return what the child still said and how it ended."""
    child.send_signal(number)
    out, error = child.communicate(timeout=TIME_LIMIT)
    return out, error, child.returncode


def resident():
    """Resident memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def limit_memory(megabytes):
    """Let this process have so much more memory of its own than it has now.

    Files that are mapped read-only do not count, as they would for RLIMIT_AS.
    """
    import resource

    status = Path("/proc/self/status").read_text().splitlines()
    now = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    most = now * 1024 + int(megabytes * MEGABYTE)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def open_files():
    """Number of file descriptors of this process."""
    return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them


def system_threads():
    """Number of threads of this process, those of libraries included."""
    return len(os.listdir("/proc/self/task"))


def counts():
    """Threads, those of Python, and file descriptors."""
    gc.collect()
    return system_threads(), threading.active_count(), open_files()
