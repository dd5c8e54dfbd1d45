"""A CUDA device that is not there, for tests of what runs on one.

Its tensors say that they are on ``cuda:0`` and are computed by the CPU, so results are
real. What is checked on the way is what differs on a GPU:

- tensors of two devices do not meet, but for single numbers in elementwise calls;
- calls that would wait for the GPU are written down, and raise during a capture;
- a capture takes note of calls without executing them, and a replay repeats just these,
  on the same memory and with the same numbers;
- a graph may not be replayed after another of its stream was destroyed (graphs.py);
- with a PyTorch that was built for CUDA, whether there is a kernel for every call.

It says nothing of kernels, of time, or of the order of work between streams. Sparse
tensors cannot pretend.
"""

from __future__ import annotations

import functools
import weakref
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")

# What PyTorch answers only after it has waited for the GPU.
WAITING = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten._unique2.default,
}
COPIES = {aten._to_copy.default, aten.copy_.default}


class OnCuda(torch.Tensor):
    """A tensor on the device; ``inner`` is where its numbers are."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )

    def __init__(self, inner):
        self.inner = inner
        current().alive.add(self)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} on the pretended device outside of its mode")

    # PyTorch's own of these ask for a real device before they dispatch.

    def __getitem__(self, index):
        return current().index(self, index)

    def __setitem__(self, index, value):
        current().put(self, index, value)

    def copy_(self, source, non_blocking=False):
        return aten.copy_.default(self, source, non_blocking)

    def __invert__(self):
        return aten.bitwise_not.default(self)

    def new_tensor(self, values):
        return torch.tensor(values, dtype=self.dtype, device=CUDA)

    def tolist(self):
        return self.cpu().tolist()

    def item(self):
        return self.cpu().item()

    __float__ = __int__ = __bool__ = lambda self: self.item()

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def mapped(function, value):
    """The same nest of lists and dicts with a function of everything in it."""
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(function, part) for part in value])
    if isinstance(value, dict):
        return {name: mapped(function, part) for name, part in value.items()}
    return function(value)


def tensors_in(*values):
    found = []
    mapped(lambda v: found.append(v) if isinstance(v, torch.Tensor) else v, values)
    return found


def inner(value):
    return value.inner if isinstance(value, OnCuda) else value


def numbered(value):
    """Which device "cuda" is would be looked up on a real one."""
    unnumbered = isinstance(value, torch.device) and value.type == "cuda"
    return CUDA if unnumbered else value


@functools.cache
def is_composite(func):
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), "CompositeImplicitAutograd"
    )


@functools.cache
def has_a_kernel(func):
    """Whether a CUDA device could run a call; a build without CUDA cannot know."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    anywhere = [
        "BackendSelect",
        "CompositeExplicitAutograd",
        "CompositeExplicitAutogradNonFunctional",
    ]
    built_with_cuda = torch.version.cuda is not None
    return not built_with_cuda or any(has(func.name(), k) for k in ["CUDA", *anywhere])


@functools.cache
def is_view(func):
    returns = func._schema.returns
    return bool(returns) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returns
    )


@functools.cache
def written_names(func):
    """Names and places of the arguments that a call writes into."""
    arguments = enumerate(func._schema.arguments)
    return [(i, a.name) for i, a in arguments if a.alias_info and a.alias_info.is_write]


def written(func, args, kwargs):
    """The tensors that a call writes into."""
    return tensors_in(
        [args[i] if i < len(args) else kwargs[name] for i, name in written_names(func)]
    )


_active: list[PretendCuda] = []


def current() -> PretendCuda:
    """The mode that this code runs in."""
    return _active[-1]


class PretendCuda(TorchDispatchMode):
    """While it is on, there is a CUDA device.

    Attributes
    ----------
    calls : list of str
        Calls that a GPU would be given one by one.
    waits : list of str
        Those of them that wait for it.
    captures, replays, destroyed : int
        Of graphs.
    log : list of str
        What streams were told.
    alive : WeakSet of OnCuda
        The tensors that hold memory of the device.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.waits, self.log = [], [], []
        self.alive = weakref.WeakSet()
        self.captures = self.replays = self.destroyed = 0
        self.capturing: Graph | None = None
        self.stream = Stream()

    def __enter__(self):
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        _active.append(self)
        return super().__enter__()

    def __exit__(self, *exception):
        _active.pop()
        torch._C._set_only_lift_cpu_tensors(self._lifted)
        return super().__exit__(*exception)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        args, kwargs = mapped(numbered, (tuple(args), kwargs or {}))
        if is_composite(func):  # in inference mode these arrive whole
            with self:
                return func.decompose(*args, **kwargs)
        tensors = tensors_in(args, kwargs)
        here = any(isinstance(t, OnCuda) for t in tensors)
        asked = kwargs.get("device")
        there = here if asked is None else torch.device(asked).type == "cuda"
        if not (here or there):
            return func(*args, **kwargs)
        if func in COPIES:
            self._check_copy(func, args, kwargs, there)
        else:
            self._check_devices(func, tensors, here)
        if asked is not None:
            kwargs["device"] = CPU
        return self._run(func, args, kwargs, tensors, there)

    def _check_copy(self, func, args, kwargs, there):
        """Only a copy from pinned memory does not wait."""
        source = args[1] if func is aten.copy_.default else args[0]
        if func is aten.copy_.default:
            there = isinstance(args[0], OnCuda)
        if isinstance(source, OnCuda) == there:
            return
        asked = kwargs.get("non_blocking", len(args) > 2 and args[2])
        pinned = getattr(source, "pretends_to_be_pinned", False)
        if not (there and asked and pinned):
            self._wait(func)

    def _check_devices(self, func, tensors, here):
        strangers = [t for t in tensors if not isinstance(t, OnCuda)] if here else []
        elementwise = torch.Tag.pointwise in func.tags and func is not aten.where.self
        if any(t.dim() or not elementwise for t in strangers):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two "
                f"devices, cuda:0 and cpu! ({func})"
            )
        if func in WAITING:
            self._wait(func)

    def _wait(self, func):
        self.waits.append(str(func))
        if self.capturing is not None:
            raise RuntimeError(f"{func}: not permitted when stream is capturing")

    def index(self, tensor, index):
        """Index as Python does: a view, or a copy by numbers or by a mask."""
        parts, listed = self._index_parts(index)
        assert not (listed and self.capturing), "no captured step has needed this"
        return OnCuda(tensor.inner[parts])

    def put(self, tensor, index, value):
        """Assign to a part as Python does."""
        parts, listed = self._index_parts(index)
        if not listed:
            part = self.index(tensor, index)
            is_tensor = isinstance(value, torch.Tensor)
            part.copy_(value) if is_tensor else part.fill_(value)
        elif isinstance(value, torch.Tensor) and not isinstance(value, OnCuda):
            raise RuntimeError("a part of a tensor on cuda:0 is given one on the CPU")
        else:
            tensor.inner[parts] = inner(value)

    def _index_parts(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        lists = [p for p in parts if isinstance(p, (torch.Tensor, list))]
        if any(not isinstance(p, OnCuda) or p.dtype is torch.bool for p in lists):
            self._wait("an index of the CPU's, or a mask")
        if lists:
            self.calls.append("aten.index.Tensor")
        return tuple(inner(p) for p in parts), bool(lists)

    def _run(self, func, args, kwargs, tensors, there):
        assert has_a_kernel(func), f"{func} has no kernel for CUDA"
        args, kwargs = mapped(inner, (args, kwargs))
        if self.capturing is not None:
            self.capturing.save(func, args, kwargs)
        if func is aten._fused_adam_.tensor_lr:
            assert kwargs["lr"].dtype is torch.float32, "the CUDA kernel's condition"
        out = func(*args, **kwargs)
        if not is_view(func):
            self.calls.append(str(func))
            if self.capturing is not None:
                self.capturing.calls.append((func, args, kwargs, out))
        known = {id(t.inner): t for t in tensors if isinstance(t, OnCuda)}

        def wrapped(value):
            if not (there and isinstance(value, torch.Tensor)):
                return value
            return known[id(value)] if id(value) in known else OnCuda(value)

        return mapped(wrapped, out)


class Stream:
    """Streams keep no order here; they only write down who waited for whom."""

    def __init__(self, device=None):
        self.name = "main" if device is None else "side"

    def wait_stream(self, other):
        current().log.append(f"{self.name} waits for {other.name}")


class Graph:
    """The calls of a capture, and their repetition."""

    def __init__(self):
        self.pretend, self.calls, self.saved = current(), [], {}

    def save(self, func, args, kwargs):
        """Keep what a call is about to overwrite: a capture executes nothing."""
        for tensor in written(func, args, kwargs):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.saved:
                self.saved[storage.data_ptr()] = storage, storage.clone()

    def end(self):
        for storage, before in self.saved.values():
            storage.copy_(before)
        for func, _, _, out in self.calls:
            if written_names(func):
                continue
            for made in tensors_in(out):  # memory that nothing was written to yet
                if made.is_floating_point():
                    made.fill_(torch.nan)
        self.saved = {}
        self.born = self.pretend.destroyed

    def replay(self):
        assert self.born == self.pretend.destroyed, "the graph's workspace is gone"
        assert self.pretend.stream.name == "side"
        self.pretend.replays += 1
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            if not written_names(func):
                for old, new in zip(tensors_in(out), tensors_in(again), strict=True):
                    old.copy_(new)

    def __del__(self):
        self.pretend.destroyed += 1


@contextmanager
def on_stream(stream):
    pretend, before = current(), current().stream
    pretend.stream = stream
    try:
        yield
    finally:
        pretend.stream = before


class Capture:
    """``torch.cuda.graph``; like it, it leaves the stream behind when it fails."""

    def __init__(self, graph, *, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.graph, self.stream, self.pretend = graph, stream, current()

    def __enter__(self):
        assert self.stream.name == "side" and self.pretend.capturing is None
        self.before, self.pretend.stream = self.pretend.stream, self.stream
        self.pretend.capturing = self.graph

    def __exit__(self, kind, *_):
        self.pretend.capturing = None
        self.graph.end()
        if kind is None:
            self.pretend.captures += 1
            self.pretend.stream = self.before


def _pinned(tensor):
    copied = tensor.clone()
    copied.pretends_to_be_pinned = True
    return copied


_make_tensor = torch.tensor


def _tensor(*args, device=None, **kwargs):
    made = _make_tensor(*args, **kwargs)
    return made if device is None else made.to(device)


@pytest.fixture
def pretend_cuda(monkeypatch):
    """A CUDA device for the length of a test."""
    from sklearn_ann.engine import graphs

    if torch.cuda.is_available():
        torch.cuda.init()  # or PyTorch would take our word for it that it has happened
    else:  # as its own FakeTensorMode does, for builds with CUDA
        torch._C._ensureCUDADeviceGuardSet()
    mode = PretendCuda()
    for name, stand_in in {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_stream": lambda device=None: mode.stream,
        "Stream": Stream,
        "stream": on_stream,
        "CUDAGraph": Graph,
        "graph": Capture,
        "synchronize": lambda device=None: None,
        "get_device_name": lambda device=None: "no card at all",
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch, "tensor", _tensor)
    monkeypatch.setattr(torch.Tensor, "pin_memory", _pinned)
    monkeypatch.setattr(graphs, "_streams", {})
    with mode:
        yield mode
    assert not graphs._owners, "a fit kept the device's graphs"
