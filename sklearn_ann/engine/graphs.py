"""CUDA graphs: a step is captured once and replayed, which launches all of it at once.

A step of a small network asks the GPU for some thirty kernels, and asking takes longer
than they run. A graph holds them with the addresses that they read and write: a step
that is to be captured works on tensors that stay where they are, allocates nothing that
outlives it, waits for nothing, and reads from tensors whatever changes between steps.

Rules that come from PyTorch, whose graphs are in beta:

- Capture and replay happen on a side stream of our own, one for each device: products
  are captured with the address of a workspace that belongs to their stream.
- No graph is destroyed while another one of the same stream is to be replayed: in
  recent versions that frees the workspace of both (on PyTorch's tracker: "Multiple
  separate CUDA graphs recorded on the same stream implicitly share memory"). So the
  graphs of a device belong to one fit at a time, and go all at once; a fit that runs
  beside it in another thread launches its steps one by one.
- The first steps are taken on the side stream without a graph, as PyTorch's
  documentation asks: libraries set themselves up in them. They are steps like all
  others, so nothing has to be undone.
- A capture that fails may leave its stream the current one. The block around it puts
  the user's stream back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import torch

# Steps without a graph before it is captured: as many as torch.cuda's own
# make_graphed_callables takes.
WARM_UP = 3

Step = Callable[[], object]

_lock = threading.Lock()
_owners: dict[int, StepGraphs] = {}
_streams: dict[int, torch.cuda.Stream] = {}


class StepGraphs:
    """The graphs of one fit.

    Parameters
    ----------
    device : torch.device
        A CUDA device.

    Attributes
    ----------
    failure : str or None
        Why a capture failed; from then on steps run as they are.

    Examples
    --------
    ``step`` takes no arguments and works on tensors that stay where they are::

        graphs = StepGraphs(torch.device("cuda"))
        if graphs.claim():
            graphs.run("weights += 1", lambda: weights.add_(1.0), times=100)
        graphs.release()
    """

    def __init__(self, device: torch.device) -> None:
        index = device.index
        self._device = torch.cuda.current_device() if index is None else index
        self._captured: dict[Hashable, Step] = {}
        self._taken: dict[Hashable, int] = {}
        self._graphs: list[torch.cuda.CUDAGraph] = []  # that of a failed capture too
        self.failure: str | None = None

    def claim(self) -> bool:
        """Take the device's graphs if they are free; return whether they are ours."""
        if self.failure is not None:
            return False
        with _lock:
            return _owners.setdefault(self._device, self) is self

    def run(self, key: Hashable, step: Step, times: int) -> None:
        """Take a step so many times; after the first few by replaying its graph.

        Parameters
        ----------
        key : hashable
            Steps of equal keys have the same graph: they do the same to the same
            tensors.
        step : callable () -> object
        times : int
        """
        here = torch.cuda.current_stream(self._device)
        side = self._stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            taken = self._taken.get(key, 0)
            self._taken[key] = taken + times
            warm = min(times, max(0, WARM_UP - taken))
            for _ in range(warm):
                step()
            if times > warm:
                replay = self._replay(key, step)
                for _ in range(times - warm):
                    replay()
        here.wait_stream(side)

    def clear(self) -> None:
        """Forget all graphs: the tensors that they work on are gone."""
        self._captured.clear()
        self._taken.clear()
        self._graphs.clear()

    def release(self) -> None:
        """Forget all graphs, and leave the device's to the next fit."""
        self.clear()
        with _lock:
            if _owners.get(self._device) is self:
                del _owners[self._device]

    def _stream(self) -> torch.cuda.Stream:
        with _lock:
            if self._device not in _streams:
                _streams[self._device] = torch.cuda.Stream(self._device)
            return _streams[self._device]

    def _replay(self, key: Hashable, step: Step) -> Step:
        if key not in self._captured and self.failure is None:
            try:
                self._captured[key] = self._capture(step)
            except RuntimeError as error:  # CUDA's own errors are of this class
                self.failure = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        return self._captured.get(key, step)

    def _capture(self, step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        self._graphs.append(graph)
        # Other threads may use the GPU meanwhile: only this one must not wait.
        with torch.cuda.graph(
            graph, stream=self._stream(), capture_error_mode="thread_local"
        ):
            step()
        return graph.replay
