"""Killed while saving, or out of disk: the path holds the old file or the new one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sklearn_ann import ANNRegressor, files, load, save

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="faults as Linux has them"
)


def network(seed, width=300):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    model = ANNRegressor((width, width), max_iter=1, random_state=seed)
    return model.fit(X, y)


def run(code, *arguments, **options):
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, **options
    )


PRELUDE = """
import os, signal, sys
from sklearn_ann import files, load, save
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
model = load(sys.argv[1])
"""
# Moments to be killed at, by what is called then.
MOMENTS = {
    "half of it is written": """
import contextlib
whole = files._replacing
class Half:
    def __init__(self, file):
        self.file, self.calls = file, 0
    def write(self, data):
        self.calls += 1
        if self.calls == 3:  # length and header are there
            self.file.write(bytes(data)[: len(data) // 2])
            self.file.flush()
            die()
        self.file.write(data)
@contextlib.contextmanager
def half(path):
    with whole(path) as file:
        yield Half(file)
files._replacing = half
""",
    "it is not yet on the disk": "os.fsync = die",
    "it is not yet renamed": "os.replace = die",
}


@on_linux
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(m, marks=() if m == "it is not yet renamed" else pytest.mark.slow)
        for m in MOMENTS
    ],
)
def test_killed_while_saving(moment, tmp_path):
    save(network(0), tmp_path / "model")
    save(network(1), tmp_path / "other")
    old = (tmp_path / "model").read_bytes()
    done = run(
        MOMENTS[moment] + "\nsave(model, sys.argv[2])",
        tmp_path / "other",
        tmp_path / "model",
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "model").read_bytes() == old
    load(tmp_path / "model")


@on_linux
@pytest.mark.slow
def test_killed_at_any_time(tmp_path):
    """Whatever was going on, the file is one of the two."""
    models = {}
    for seed in (0, 1):
        save(network(seed), tmp_path / str(seed))
        models[seed] = (tmp_path / str(seed)).read_bytes()
    path = tmp_path / "model"
    code = """
others = [model, load(sys.argv[2])]
print("ready", flush=True)
while True:
    for other in others:
        save(other, sys.argv[3])
"""
    command = [sys.executable, "-c", PRELUDE + code]
    rng = np.random.default_rng(0)
    for _ in range(5):
        child = subprocess.Popen(
            [*command, tmp_path / "0", tmp_path / "1", path], stdout=subprocess.PIPE
        )
        assert child.stdout.readline() == b"ready\n"
        while not path.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        child.wait()
        child.stdout.close()
        assert path.read_bytes() in models.values()


@on_linux
def test_disk_full(tmp_path):
    """A limit on the size of files stands in for a disk: the writes fail likewise."""
    save(network(0), tmp_path / "model")
    save(network(1, width=600), tmp_path / "other")
    old = (tmp_path / "model").read_bytes()
    done = run(
        """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    save(model, sys.argv[2])
except OSError as error:
    print("OSError", error.errno)
""",
        tmp_path / "other",
        tmp_path / "model",
    )
    assert done.stdout.startswith("OSError"), done.stderr
    assert (tmp_path / "model").read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "other"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@on_linux
def test_a_disk_that_is_full(small_disk):
    save(network(0, width=200), small_disk / "model")
    old = (small_disk / "model").read_bytes()
    with pytest.raises(OSError, match="space"):
        save(network(1, width=400), small_disk / "model")
    assert (small_disk / "model").read_bytes() == old
    assert [p.name for p in small_disk.iterdir()] == ["model"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_interrupted_while_saving(moment, tmp_path, monkeypatch):
    save(network(0), tmp_path / "model")
    old = (tmp_path / "model").read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(network(1), tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_the_file_and_its_name_are_on_the_disk(tmp_path, monkeypatch):
    """First the contents, then the name, then the folder that holds the name."""
    called, fsync, replace = [], os.fsync, os.replace
    folder = tmp_path.stat().st_ino

    def synced(handle):
        what = "folder" if os.fstat(handle).st_ino == folder else "file"
        called.append(what)
        fsync(handle)

    def replaced(old, new):
        called.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    save(network(0), tmp_path / "model")
    assert called == ["file", "name"] + ["folder"] * (os.name == "posix")


def test_where_there_is_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(network(0), tmp_path / "nowhere" / "model")


def test_two_programs_may_save_to_one_path(tmp_path):
    """Each writes aside under a name of its own."""
    path = tmp_path / "model"
    with files._replacing(path) as one, files._replacing(path) as other:
        assert Path(one.name) != Path(other.name)
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"
