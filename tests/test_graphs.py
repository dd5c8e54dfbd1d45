"""Steps that are captured once and replayed; on a device that is pretended."""

from __future__ import annotations

import pytest
import torch
from pretend_cuda import CUDA

from sklearn_ann.engine import graphs as graphs_module
from sklearn_ann.engine.graphs import WARM_UP, StepGraphs


class Counter:
    """A step that counts on the device, and how often Python ran it."""

    def __init__(self):
        self.total = torch.zeros((), device=CUDA)
        self.runs = 0

    def step(self):
        self.runs += 1
        self.total.add_(1.0)

    @property
    def value(self):
        return self.total.item()


@pytest.fixture
def graphs(pretend_cuda):
    made = StepGraphs(CUDA)
    assert made.claim()
    yield made
    made.release()


def test_captured_once_then_replayed(graphs, pretend_cuda):
    counter = Counter()
    graphs.run("key", counter.step, 10)
    assert counter.value == 10  # the capture itself does nothing
    assert counter.runs == WARM_UP + 1
    assert (pretend_cuda.captures, pretend_cuda.replays) == (1, 10 - WARM_UP)
    graphs.run("key", counter.step, 5)
    assert counter.value == 15
    assert counter.runs == WARM_UP + 1
    assert (pretend_cuda.captures, pretend_cuda.replays) == (1, 15 - WARM_UP)


def test_few_steps_are_not_worth_a_graph(graphs, pretend_cuda):
    counter = Counter()
    for taken in range(1, WARM_UP + 1):
        graphs.run("key", counter.step, 1)
        assert counter.value == taken
    assert pretend_cuda.captures == 0
    graphs.run("key", counter.step, 1)
    assert counter.value == WARM_UP + 1
    assert (pretend_cuda.captures, pretend_cuda.replays) == (1, 1)


def test_a_graph_for_each_key(graphs, pretend_cuda):
    counters = {key: Counter() for key in ("a", "b")}
    for _ in range(3):
        for key, counter in counters.items():
            graphs.run(key, counter.step, 4)
    assert pretend_cuda.captures == 2
    assert [counter.value for counter in counters.values()] == [12, 12]


def test_all_of_it_is_on_one_side_stream(graphs, pretend_cuda):
    seen = []
    graphs.run("key", lambda: seen.append(pretend_cuda.stream.name), 6)
    assert seen == ["side"] * (WARM_UP + 1)
    assert pretend_cuda.stream.name == "main"
    assert pretend_cuda.log == ["side waits for main", "main waits for side"]
    again = StepGraphs(CUDA)
    assert again._stream() is graphs._stream()


def fails(counter):
    """A step that waits for the device, which a capture forbids."""

    def step():
        counter.step()
        return counter.value

    return step


def test_a_capture_that_fails(graphs, pretend_cuda):
    counter, good = Counter(), Counter()
    graphs.run("good", good.step, 5)
    graphs.run("bad", fails(counter), 10)
    assert counter.value == 10  # as if nothing had been tried
    assert counter.runs == 10 + 1
    assert "not permitted when stream is capturing" in graphs.failure
    assert pretend_cuda.stream.name == "main"
    # What was captured before is still good, though the failed graph is gone with it.
    graphs.run("good", good.step, 5)
    assert (good.value, good.runs) == (10, WARM_UP + 1)
    graphs.run("later", counter.step, 10)
    assert pretend_cuda.captures == 1
    assert counter.value == 20
    assert not graphs.claim()


def test_other_errors_of_a_step_are_the_callers(graphs, pretend_cuda):
    def step():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        graphs.run("key", step, 5)
    assert pretend_cuda.stream.name == "main"


def test_one_fit_at_a_time(graphs, pretend_cuda):
    other = StepGraphs(CUDA)
    assert graphs.claim()
    assert not other.claim()
    other.release()  # nothing of others
    assert not other.claim()
    graphs.release()
    assert other.claim()
    assert not graphs.claim()
    other.release()
    assert not graphs_module._owners


def test_cleared_graphs_are_captured_anew(graphs, pretend_cuda):
    counter = Counter()
    graphs.run("key", counter.step, 5)
    graphs.clear()
    assert pretend_cuda.destroyed == 1
    graphs.run("key", counter.step, 5)
    assert pretend_cuda.captures == 2
    assert counter.value == 10


# ------------------------------------------------- the pretended device keeps its word


def test_it_does_not_let_devices_meet(pretend_cuda):
    here, there = torch.ones(2, 2), torch.ones(2, 2, device=CUDA)
    for call in (
        lambda: here + there,
        lambda: torch.mm(here, there),
        lambda: torch.mm(here, here, out=there),
        lambda: torch.index_select(there, 0, torch.zeros(1, dtype=torch.int64)),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            call()
    with pytest.raises(TypeError, match="can't convert cuda"):
        there.numpy()
    assert (there * torch.tensor(2.0)).tolist() == [[2, 2], [2, 2]]


def test_it_writes_down_what_waits(pretend_cuda):
    x = torch.ones(3, device=CUDA)
    assert not pretend_cuda.waits
    for waits in (
        lambda: x.sum().item(),
        lambda: float(x[0]),
        lambda: x.tolist(),
        lambda: x.cpu(),
        lambda: torch.ones(3).to(CUDA),
        lambda: torch.ones(3).pin_memory().to(CUDA),
        lambda: x.copy_(torch.ones(3)),
        lambda: torch.equal(x, x),
        lambda: x[torch.tensor([0])],
        lambda: x[x > 0],
    ):
        pretend_cuda.waits.clear()
        waits()
        assert len(pretend_cuda.waits) == 1
    pretend_cuda.waits.clear()
    torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
    x.add_(1.0).fill_(2.0)
    x[0:1].mul_(x[1:2])
    assert not pretend_cuda.waits


def test_a_replay_repeats_numbers_and_reads_tensors(pretend_cuda):
    x, rate = torch.zeros(2, device=CUDA), torch.ones((), device=CUDA)
    baked, graph = 1.0, torch.cuda.CUDAGraph()
    side = torch.cuda.Stream(0)
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        x.add_(baked).add_(rate)
        doubled = x * 2.0
    assert x.tolist() == [0, 0]
    assert doubled.isnan().all()
    baked = 10.0
    rate.fill_(5.0)
    with torch.cuda.stream(side):
        graph.replay()
    assert x.tolist() == [6, 6]
    assert doubled.tolist() == [12, 12]


def test_it_keeps_graphs_of_one_stream_together(pretend_cuda):
    side, made = torch.cuda.Stream(0), []
    for _ in range(2):
        made.append(torch.cuda.CUDAGraph())
        with torch.cuda.graph(made[-1], stream=side, capture_error_mode="thread_local"):
            torch.zeros(1, device=CUDA)
    made.pop(0)
    with torch.cuda.stream(side), pytest.raises(AssertionError, match="workspace"):
        made[0].replay()
