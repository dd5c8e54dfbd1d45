"""Files that somebody bent: one error, soon, and no memory beyond the file's own."""

import gc
import io
import json
import os
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from fitted_estimators import TABLE, X, Y, classifier, regressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from states import described

from sklearn_ann import ANNRegressor, FileError, files, load, save

PROTOCOL = pytest.importorskip("skops.io._protocol").PROTOCOL
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SECONDS = 1.0  # of the processor's time, for a file of some kB
# Beside twice the file: what reading any file takes, Python's objects for its JSON.
OVERHEAD = 2**20


# ------------------------------------------------------------------ ways to bend


def cut(content):
    """Header and data of a file."""
    n = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + n]), content[8 + n :]


def framed(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def sealed(header, data):
    """Frame a file with the hash that its contents ask for, as its writer would."""
    metadata = dict(header["__metadata__"])
    metadata.pop("sha256", None)
    digest = files._digest(metadata)
    for name in sorted(header.keys() - {"__metadata__"}):
        entry = header[name]
        files._hash_entry(digest, name, entry["dtype"], entry["shape"])
        start, stop = entry["data_offsets"]
        digest.update(data[start:stop])
    header = {**header, "__metadata__": {**metadata, "sha256": digest.hexdigest()}}
    return framed(header, data)


def flip(rng, content):
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def overwrite(rng, content):
    start = rng.integers(len(content))
    junk = rng.bytes(rng.integers(1, 64))
    return content[:start] + junk + content[start + len(junk) :]


def truncate(rng, content):
    return content[: rng.integers(len(content))]


def insert(rng, content):
    at = rng.integers(len(content) + 1)
    return content[:at] + rng.bytes(rng.integers(1, 64)) + content[at:]


def delete(rng, content):
    start = rng.integers(len(content))
    return content[:start] + content[start + rng.integers(1, 64) :]


def move(rng, content):
    a, b = sorted(rng.integers(len(content), size=2))
    return content[b:] + content[a:b] + content[:a]


def reframe(rng, content):
    """Another length of the header."""
    lengths = (0, 1, 7, len(content), 2**31, 2**63 - 1, 2**64 - 1)
    n = int.from_bytes(content[:8], "little")
    length = rng.choice([*map(float, lengths), float(n + rng.integers(-9, 9))])
    return int(min(max(length, 0), 2**64 - 2**12)).to_bytes(8, "little") + content[8:]


def redescribe(rng, content):
    """Another dtype, shape or place of an array, or another array's."""
    header, data = cut(content)
    names = [name for name in header if name != "__metadata__"]
    entry = header[rng.choice(names)]
    numbers = [0, 1, -1, 3, 2**31, 2**62, 2**64, 0.5, None, "x"]

    def number():
        return numbers[rng.integers(len(numbers))]

    what = rng.integers(4)
    if what == 0:
        entry["dtype"] = rng.choice(["F64", "F32", "U8", "I64", "BOOL", "BF16", "Q4"])
        entry["dtype"] = str(entry["dtype"])
    elif what == 1:
        entry["shape"] = [number() for _ in range(rng.integers(5))]
    elif what == 2:
        entry["data_offsets"] = [number(), number()]
    else:
        header[rng.choice(names)] = {}
    return framed(header, data)


def places(node, found):
    """All (container, key) of a JSON tree."""
    items = enumerate(node) if isinstance(node, list) else node.items()
    for key, value in items:
        found.append((node, key))
        if isinstance(value, list | dict):
            places(value, found)
    return found


def rewrite(rng, content):
    """Other values in the JSON, under a hash that is right: the typed loader's job."""
    header, data = cut(content)
    tree = json.loads(header["__metadata__"]["content"])
    all_places = places(tree, [])
    for _ in range(rng.integers(1, 4)):
        container, key = all_places[rng.integers(len(all_places))]
        other, other_key = all_places[rng.integers(len(all_places))]
        try:
            spare = json.loads(json.dumps(other[other_key]))
            values = [
                None, True, -1, 0, 2**31, 2**62, 10**30, 1e308, "", "predict",
                "os.system", [], {}, [[]] * 3, {"float": "nan"}, {"array": "a0"},
                {"array": "b0"}, {"bytes": "a0"}, {"tuple": [1, 2]},
                {"dict": [["__kind__", "Model"]]}, {"strings": ["a"], "shape": [2**40]},
                {"float64": [1.0], "shape": [10**15]}, spare, spare, spare,
            ]  # fmt: skip
            if rng.integers(6) == 0:
                del container[key]
            else:
                container[key] = values[rng.integers(len(values))]
        except (IndexError, KeyError):
            continue  # went with what another change took away
    header["__metadata__"]["content"] = json.dumps(tree)
    return sealed(header, data)


BROKEN = [flip, overwrite, truncate, insert, delete, move, reframe, redescribe]


# ----------------------------------------------------------------------- the files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Small files of several kinds: names, contents, what is in them."""
    folder = tmp_path_factory.mktemp("saved")
    estimators = {
        "plain": regressor().fit(X, Y),
        "warm": regressor(warm_start=True, dropout=0.1).fit(X, Y),
        "lbfgs": regressor(warm_start=True, solver="lbfgs").fit(X, Y),
        "ensemble": classifier(n_estimators=2).fit(X, Y > 0),
        "pipeline": make_pipeline(StandardScaler(), regressor()).fit(X, Y),
        "table": regressor(numeric_embedding="piecewise_linear").fit(TABLE, Y),
        "robust": regressor(standardize="robust").fit(TABLE, Y),
    }
    contents = []
    for name, estimator in estimators.items():
        save(estimator, folder / name)
        contents.append(((folder / name).read_bytes(), estimator))
    return contents


def attempt(path, content):
    """Load a bent file; return what it holds, or None, within time and memory."""
    path.write_bytes(content)
    gc.collect(0)
    tracemalloc.start()
    start = time.process_time()
    try:
        found = load(path)
    except FileError:
        found = None
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < 2 * len(content) + OVERHEAD
    return found


def bend_many(n, saved, tmp_path):
    """Number of bent files that loaded all the same."""
    survived = 0
    for i in range(n):
        rng = np.random.default_rng([20261123, i])
        content, original = saved[i % len(saved)]
        if i % 3 == 0:  # hash and all: nothing to notice but the types
            attempt(tmp_path / "bent", rewrite(rng, content))
            continue
        bent = BROKEN[rng.integers(len(BROKEN))](rng, content)
        found = attempt(tmp_path / "bent", bent)
        if found is not None:
            survived += 1
            assert described(found) == described(original), "a change went unnoticed"
    return survived


def test_bent_files(saved, tmp_path):
    bend_many(200, saved, tmp_path)


@pytest.mark.slow
def test_ten_thousand_bent_files(saved, tmp_path):
    survived = bend_many(10_000, saved, tmp_path)
    # A space for a tab, say, between two words of the header.
    assert survived < 500


def test_every_kind_of_damage_is_noticed(saved, tmp_path):
    """One bit of the numbers, the state, the version: each by itself."""
    content, _ = saved[0]
    n = int.from_bytes(content[:8], "little")
    for at in (3, 20, 8 + n // 2, 8 + n + 1, len(content) - 1):
        bent = bytearray(content)
        bent[at] ^= 4
        assert attempt(tmp_path / "bent", bytes(bent)) is None


# --------------------------------------------------------------- made by hand


def with_content(content, change):
    header, data = cut(content)
    tree = json.loads(header["__metadata__"]["content"])
    text = json.dumps(tree)
    header["__metadata__"]["content"] = change(text)
    return sealed(header, data)


def with_entry(content, **changes):
    header, data = cut(content)
    name = next(name for name in header if name != "__metadata__")
    header[name].update(changes)
    return framed(header, data)


def deep(text):
    return "[" * 200_000 + "]" * 200_000


def replaced(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    return change


def absurd_files(content):
    """Files by a knowing hand: what they ask for is not in them."""
    huge = 2**62
    yield "header", (2**62).to_bytes(8, "little") + content[8:]
    yield "shape", with_entry(content, shape=[huge, huge])
    yield "no rows", with_entry(content, shape=[0, huge], data_offsets=[0, 0])
    yield "place", with_entry(content, data_offsets=[0, huge])
    yield "deep", with_content(content, deep)
    words = json.dumps({"strings": ["a" * 40_000] + [""] * 20_000, "shape": [20_001]})
    swaps = {
        "words": ('"n_layers_", 4', f'"n_layers_", {words}'),
        "inputs": ('"n_inputs", 3', f'"n_inputs", {huge}'),
        "digits": ('"n_inputs", 3', '"n_inputs", 1' + "0" * 5000),
        "array": ('"shape": [3]', f'"shape": [{huge}]'),
        "hidden": (
            '"hidden", {"tuple": [5, 4]}',
            '"hidden", {"tuple": [5000000000, 4]}',
        ),
    }
    for name, (old, new) in swaps.items():
        yield name, with_content(content, replaced(old, new))


def archive(loader, class_name, module, file, content, **options):
    """An archive of skops with one object in it, whose contents are a file."""
    node = {
        "__class__": class_name,
        "__module__": module,
        "__loader__": loader,
        "type": "scipy" if file.endswith("npz") else "numpy",
        "file": file,
        "protocol": PROTOCOL,
        "_skops_version": "0.16.0",
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **options) as opened:
        opened.writestr("schema.json", json.dumps(node))
        opened.writestr(file, content)
    return made.getvalue()


def archives():
    """Bytes for skops that ask for much: bombs, and a table of a terabyte."""
    table, sparse, n = io.BytesIO(), io.BytesIO(), 2**23
    np.lib.format.write_array_header_1_0(
        table, {"descr": "<f8", "fortran_order": False, "shape": (2**37,)}
    )
    zeros = np.zeros(n), np.zeros(n, dtype=np.int32), np.array([0, n])
    sp.save_npz(sparse, sp.csr_array(zeros, shape=(1, 1)))
    array = ("NdArrayNode", "ndarray", "numpy", "a.npy")
    matrix = ("SparseMatrixNode", "csr_array", "scipy.sparse._csr", "a.npz")
    packed = {"compression": zipfile.ZIP_DEFLATED}
    yield "bomb", archive("BytesNode", "bytes", "builtins", "a", bytes(2**27), **packed)
    yield "table", archive(*array, table.getvalue())
    yield "sparse", archive(*matrix, sparse.getvalue())


CHILD = """
import resource, sys
from pathlib import Path
from sklearn_ann import FileError, load
try:
    load(sys.argv[2])  # what is imported on first use, out of the count
except FileError:
    pass
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 64 * 2**20,) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load(path, trusted=["scipy.sparse._csr.csr_array"])
    except FileError as error:
        cause = error
        while cause is not None:
            assert not isinstance(cause, MemoryError), path
            cause = cause.__cause__
        print(path.name, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_absurd_files_ask_for_no_memory(saved, tmp_path):
    (tmp_path / "files").mkdir()
    for name, content in absurd_files(saved[0][0]):
        (tmp_path / "files" / name).write_bytes(content)
    for name, content in archives():
        tree = {"__kind__": "skops", "bytes": content}
        files.write(tmp_path / "files" / name, "estimator", tree, "a test")
    (tmp_path / "whole").write_bytes(saved[-1][0])
    command = [sys.executable, "-c", CHILD, tmp_path / "files", tmp_path / "whole"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert done.stdout.splitlines() == names


@pytest.mark.parametrize("inside", ["alone", "pipeline"])
def test_memory_is_within_twice_the_file(inside, tmp_path):
    model = ANNRegressor((600, 600), max_iter=1, random_state=0)
    if inside == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    save(model.fit(X, Y), tmp_path / "model")
    size = os.path.getsize(tmp_path / "model")
    assert size > 2_000_000
    load(tmp_path / "model")
    tracemalloc.start()
    load(tmp_path / "model")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * size


def test_memory_with_much_in_other_steps(tmp_path):
    """What skops reads is read from the file, not from a copy of it."""
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(0)
    model = KNeighborsRegressor(algorithm="brute")
    save(model.fit(rng.normal(size=(5000, 100)), np.zeros(5000)), tmp_path / "model")
    size = os.path.getsize(tmp_path / "model")
    load(tmp_path / "model")
    tracemalloc.start()
    load(tmp_path / "model")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 4_000_000
    assert peak < 2 * size + 1_500_000
