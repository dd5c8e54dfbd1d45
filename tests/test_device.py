"""Devices and dtypes by name, and a thread count that comes back as it was."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
import torch
from engine_fits import regression

from sklearn_ann.engine import device as device_module
from sklearn_ann.engine.device import (
    FLOPS_PER_STEP_FOR_GPU,
    FLOPS_PER_STEP_FOR_THREADS,
    resolve_device,
    resolve_dtype,
    threads,
    threads_for,
)

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA devices, and MPS or not."""

    def pretend(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


# ------------------------------------------------------------------------- devices

PRESENT = {
    "cpu": ({}, CPU),
    "cuda": ({"cuda": 1}, CUDA),
    "cuda:1": ({"cuda": 2}, torch.device("cuda:1")),
    "mps": ({"mps": True}, MPS),
}
ABSENT = {
    "cuda": ({}, "no such device .* Use device='cpu', or device='auto'"),
    "cuda:0": ({"mps": True}, "no such device .* Use device='cpu', or device='auto'"),
    "cuda:2": ({"cuda": 2}, r"only 2 CUDA device\(s\), numbered from 0"),
    "mps": ({"cuda": 1}, "no such device .* Use device='cpu', or device='auto'"),
    "xpu": ({"cuda": 1}, "no such device"),
}
NONSENSE = ["gpu", "", "cuda:one", "CPU", "cuda:-1"]


@pytest.mark.parametrize("name", PRESENT)
def test_a_device_that_is_there(machine, name):
    has, expected = PRESENT[name]
    machine(**has)
    assert resolve_device(name) == expected


@pytest.mark.parametrize("name", ABSENT)
def test_an_absent_device_is_an_error_that_says_what_to_do(machine, name):
    has, message = ABSENT[name]
    machine(**has)
    with pytest.raises(ValueError, match=f"device='{name}' was asked for.*{message}"):
        resolve_device(name)


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_no_device(machine, name):
    machine(cuda=1, mps=True)
    with pytest.raises(ValueError, match=f"device='{name}' is not a device; expected"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("has", "for_much_work"),
    [({}, CPU), ({"cuda": 1}, CUDA), ({"mps": True}, MPS)],
    ids=["cpu only", "cuda", "mps"],
)
def test_auto_takes_a_gpu_when_a_step_pays_for_it(machine, has, for_much_work):
    machine(**has)
    assert resolve_device("auto", FLOPS_PER_STEP_FOR_GPU * 0.99) == CPU
    assert resolve_device("auto", FLOPS_PER_STEP_FOR_GPU) == for_much_work
    assert resolve_device("auto") == CPU


@pytest.mark.parametrize(
    ("name", "device", "exact", "expected"),
    [
        ("auto", CPU, True, torch.float64),
        ("auto", CPU, False, torch.float32),
        ("auto", CUDA, True, torch.float64),
        ("auto", MPS, True, torch.float32),  # it has no float64
        ("float32", CPU, True, torch.float32),
        ("float64", CUDA, False, torch.float64),
        ("float32", MPS, True, torch.float32),
    ],
)
def test_dtype(name, device, exact, expected):
    assert resolve_dtype(name, device, exact) is expected


def test_float64_on_mps_is_an_error():
    with pytest.raises(ValueError, match=r"no float64.*Use dtype='float32', or device"):
        resolve_dtype("float64", MPS, exact=False)


# ------------------------------------------------------------------------- threads

COUNT = 4  # more than one, whatever machine this is


@pytest.fixture(autouse=True)
def count_of_four():
    """Every test begins and ends with the same count, and leaves the machine's."""
    before = torch.get_num_threads()
    torch.set_num_threads(COUNT)
    yield
    try:
        assert torch.get_num_threads() == COUNT
        assert seen_by_a_new_thread() == COUNT
        assert device_module._depth == 0
    finally:
        torch.set_num_threads(before)


def in_a_thread(function):
    """What a function returns in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def seen_by_a_new_thread():
    """The process's count: a thread copies it when it first meets PyTorch."""
    return in_a_thread(torch.get_num_threads)


def test_threads_lowers_the_count_and_restores_it():
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == COUNT


def test_threads_never_raises_the_count():
    torch.set_num_threads(1)
    with threads(3):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 1
    torch.set_num_threads(COUNT)


def test_nested():
    with threads(3):
        with threads(1):
            assert torch.get_num_threads() == 1
            with threads(2):
                assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == COUNT


def test_exceptions_pass_and_the_count_comes_back():
    with pytest.raises(ZeroDivisionError), threads(1), threads(1):
        _ = 1 / 0
    assert torch.get_num_threads() == COUNT


def test_training_leaves_the_count_also_when_it_breaks_off():
    problem, seen = regression(), []

    def break_off(epoch):
        seen.append(torch.get_num_threads())
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        problem.alone(problem.fit(on_epoch=break_off))
    assert seen == [1]  # little work: one thread


def run(*functions):
    """Run functions at the same time, each in a thread of its own; raise their errors.

    Each has used PyTorch before any of them starts, so each has its copy of the count.
    """
    barrier, errors = threading.Barrier(len(functions)), []

    def body(function):
        try:
            assert torch.get_num_threads() == COUNT
            barrier.wait()
            function()
            barrier.wait()  # all have left
            assert torch.get_num_threads() == COUNT
        except Exception as error:
            errors.append(error)
            barrier.abort()

    running = [threading.Thread(target=body, args=(f,)) for f in functions]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("seed", range(5))
def test_eight_threads_at_random(seed):
    """Blocks of different counts that overlap, nest, and end in exceptions.

    Among them are threads that meet PyTorch while others have lowered the count.
    """

    def block(rng, depth=0):
        with threads(rng.choice([1, 1, 2, COUNT])):
            time.sleep(rng.uniform(0, 1e-3))
            if depth < 2 and rng.random() < 0.3:
                block(rng, depth + 1)
            elif rng.random() < 0.2:
                newcomers.append(in_a_thread(lambda: newcomer(rng)))
            elif rng.random() < 0.2:
                raise ArithmeticError

    def newcomer(rng):
        with threads(rng.choice([1, 2])):
            time.sleep(rng.uniform(0, 1e-3))
        return torch.get_num_threads()

    def work(number):
        rng = random.Random(f"{seed} {number}")
        for _ in range(15):
            try:
                block(rng)
            except ArithmeticError:
                time.sleep(rng.uniform(0, 1e-3))

    newcomers = []
    run(*(lambda number=number: work(number) for number in range(8)))
    assert newcomers and set(newcomers) == {COUNT}


class Turns:
    """Lets threads take their turns in a fixed order."""

    def __init__(self):
        self.turn, self.changed = 0, threading.Condition()

    def at(self, turn):
        with self.changed:
            assert self.changed.wait_for(lambda: self.turn == turn, timeout=10)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.changed:
            self.turn += 1
            self.changed.notify_all()


# Who enters (by number) and who leaves (minus the number, less one), in turn.
ORDERS = {
    "first in, first out": (0, 1, -1, -2),
    "first in, last out": (0, 1, -2, -1),
    "meeting in between": (0, 1, -1, 2, -2, -3),
}


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 1, COUNT), (COUNT, 1, 2)], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_threads_that_overlap(order, counts):
    turns, steps = Turns(), ORDERS[order]

    def work(number):
        with turns.at(steps.index(number)):
            block = threads(counts[number])
            block.__enter__()
            assert torch.get_num_threads() <= counts[number]
        with turns.at(steps.index(-number - 1)):
            block.__exit__(None, None, None)

    run(*(lambda n=n: work(n) for n in range(max(steps) + 1)))


def test_a_newcomer_leaves_with_the_process_count():
    """A thread that meets PyTorch inside somebody's block has copied one thread."""

    def meet():
        with threads(1):
            pass
        return torch.get_num_threads()

    with threads(1):
        assert in_a_thread(meet) == COUNT


@pytest.mark.parametrize("last", ["old", "new"])
def test_a_thread_of_long_ago_does_not_take_its_count_for_all(last):
    """A thread with an old copy of one enters first, another with four after it."""
    inside, leave = threading.Event(), threading.Event()

    def old():
        with threads(1):
            inside.set()
            assert leave.wait(timeout=10)

    thread = threading.Thread(target=lambda: (torch.get_num_threads(), old()))
    torch.set_num_threads(1)
    thread.start()
    assert inside.wait(timeout=10)
    torch.set_num_threads(COUNT)
    with threads(1):
        if last == "new":
            leave.set()
            thread.join()
    leave.set()
    thread.join()
    assert torch.get_num_threads() == seen_by_a_new_thread() == COUNT


def test_fits_in_eight_threads():
    problem = regression()
    expected = problem.alone(problem.fit(batch_size=32, max_iter=3)).row

    def fit():
        for _ in range(3):
            outcome = problem.alone(problem.fit(batch_size=32, max_iter=3))
            np.testing.assert_array_equal(outcome.row, expected)

    run(*[fit] * 8)


def test_threads_for():
    assert threads_for(FLOPS_PER_STEP_FOR_THREADS * 0.99) == 1
    assert threads_for(FLOPS_PER_STEP_FOR_THREADS) == COUNT
