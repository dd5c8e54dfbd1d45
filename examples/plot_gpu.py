"""
Where a GPU pays
================

A step of training is a few matrix products. Each costs a fixed time to *call*, and a
time to *compute* that grows with its size. Small networks are all calls, and a GPU does
not call faster than a CPU; wide networks are all computing, and there it is many times
faster. This example measures both parts on the processor that it runs on, draws where
they cross, and asks which share of the processor's peak a fit reaches.

If a CUDA device is there, it is measured as well. When these pages were built, the
devices were:
"""

# %%

import torch

devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
print(devices)

# %%
# The peak
# --------
# The peak is what one large matrix product reaches here, in operations a second; a
# product of two n x n matrices takes 2 n^3. One thread is used, as small networks are
# trained.

import time

import pandas as pd

torch.set_num_threads(1)


def seconds(task, repeats=3):
    """Least time of some runs: a peak is what is possible."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        task()
        times.append(time.perf_counter() - begin)
    return min(times)


def peak(device, side):
    """Operations a second of one square product, in float32."""
    a = torch.randn(side, side, device=device)
    out = torch.empty_like(a)

    def product():
        torch.mm(a, a, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * side**3 / seconds(product)


peaks = {device: peak(device, 8192 if device == "cuda" else 2048) for device in devices}
for device, rate in peaks.items():
    print(f"{device}: {rate / 1e9:,.0f} billion operations a second")

# %%
# A step, by width
# ----------------
# Training takes about six operations for each parameter and row: two on the way
# forward, four on the way back. The networks have two hidden layers of equal width, 64
# inputs, and see 256 rows a step. Set-up is taken out: a fit of many steps less one of
# few, over the steps between.

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor

BATCH, COLUMNS = 256, 64
rng = np.random.default_rng(0)
X = rng.standard_normal((BATCH * 8, COLUMNS), dtype=np.float32)
y = X[:, 0]


def fit_of(width, device, epochs):
    """A fit of eight steps an epoch."""
    network = ANNRegressor(
        hidden_layer_sizes=(width, width),
        activation="relu",
        solver="adam",
        batch_size=BATCH,
        max_iter=epochs,
        tol=0,
        n_iter_no_change=epochs,
        early_stopping=False,
        linear_skip=False,
        n_estimators=1,
        device=device,
        dtype="float32",
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(X, y)


rows = []
for device in devices:
    widths = (8, 32, 128, 512, 1024) + (2048, 4096, 8192) * (device == "cuda")
    for width in widths:
        few, many = (2, 42) if width <= 128 else (1, 4)
        time_of = [seconds(lambda: fit_of(width, device, n), 2) for n in (few, many)]  # noqa: B023
        step = (time_of[1] - time_of[0]) / (8 * (many - few))
        parameters = fit_of(width, device, 1).n_parameters_
        work = 6 * parameters * BATCH
        rows.append(
            {
                "device": device,
                "width": width,
                "parameters": parameters,
                "operations a step": work,
                "microseconds a step": step * 1e6,
                "share of peak": work / step / peaks[device],
            }
        )
table = pd.DataFrame(rows).set_index(["device", "width"])
formats = dict.fromkeys(table.columns[:2], "{:,.0f}")
formats |= {"microseconds a step": "{:,.0f}", "share of peak": "{:.0%}"}
table.style.format(formats)

# %%
# Read the last column from above: the smallest network reaches next to nothing of the
# peak, since its time is calls; wide ones reach a large part of it. How large, on a
# machine that does nothing else, is on the page of :doc:`benchmarks </benchmarks>`;
# here the builder of these pages may have been busy. For comparison: the large language
# models of Narayanan et al. (2021, Table 1), 1.7 to 1008 billion parameters on up to
# 3072 GPUs, trained at 44 to 52% of their GPUs' peak.
#
# Where they would cross
# ----------------------
# The time of a step is about that of its calls plus operations over the peak, the grey
# line. A GPU has calls too: some 30 kernels a step at several microseconds each, or
# about one launch when the step is captured and replayed as a graph. The lines for a
# GPU below are *assumptions* in round numbers, not measurements: 50 trillion operations
# a second, and 200 microseconds a step launched one by one, or 30 replayed. Under them
# a GPU begins to pay somewhere between a million and ten million operations a step,
# which are networks of some ten to a hundred units in each of two layers, and is a
# hundred times as fast as one core at ten billion.

import matplotlib.pyplot as plt

work = np.logspace(5, 13, 200)
cpu = table.loc["cpu"]
calls = cpu["microseconds a step"].iloc[0]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.loglog(
    work, calls + work / peaks["cpu"] * 1e6, "0.6", label="one core: calls + peak"
)
styles = {"cpu": ("C0o", "one core, measured"), "cuda": ("C1s", "GPU, measured")}
for device in devices:
    part, (mark, label) = table.loc[device], styles[device]
    left.loglog(
        part["operations a step"], part["microseconds a step"], mark, label=label
    )
    right.semilogx(part["operations a step"], part["share of peak"], mark + "-")
for launches, style in ((200, "k--"), (30, "k:")):
    label = f"a GPU, {launches} us a step (assumed)"
    left.loglog(work, launches + work / 50e12 * 1e6, style, lw=1, label=label)
left.set(title="Time of a step", xlabel="operations a step", ylabel="microseconds")
left.legend(fontsize="x-small")
right.axhspan(0.44, 0.52, color="0.9")
right.annotate("large language models", (1e10, 0.48), va="center", fontsize=8)
right.set(title="Share of peak", xlabel="operations a step", xlim=(work[0], work[-1]))
right.set(ylim=(0, 1.05))
figure.tight_layout()

# %%
# For a table of economic data and a network of 16 units a CPU is the right place, and
# many such networks are better trained as one stack (:ref:`a grid search in seconds
# <sphx_glr_auto_examples_plot_grid_search.py>`) than on a GPU one by one.
# ``device="auto"`` decides by the operations of a step.
