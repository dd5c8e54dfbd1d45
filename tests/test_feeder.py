"""Every network gets its own rows, all of them, in its own order and minibatches."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from engine_fits import CPU, design

from sklearn_ann.engine import feeder as feeder_module
from sklearn_ann.engine.feeder import Dropout, Feeder
from sklearn_ann.engine.rows import plan_epoch, row_set
from sklearn_ann.engine.shuffling import Shuffler, plain_orders

# n, batch of each network, and the most rows of a piece.
PLANS = {
    "one": ([100], [32], 999),
    "one, no rest": ([96], [32], 999),
    "one, full": ([100], [100], 999),
    "one, chunks": ([100], [70], 32),
    "alike": ([100, 100], [32, 32], 999),
    "alike, chunks": ([100, 100], [64, 64], 32),
    "unequal rows": ([100, 60, 97], [32, 32, 32], 999),
    "unequal rows, chunks": ([100, 60, 97], [100, 60, 97], 32),
    "unequal batches": ([100, 100], [32, 50], 999),
    "unequal batches, chunks": ([100, 100], [70, 50], 16),
    "all unequal, chunks": ([100, 1, 61], [70, 1, 20], 16),
}
each_plan = pytest.mark.parametrize(
    ("n", "batch", "chunk"), PLANS.values(), ids=PLANS.keys()
)


@each_plan
def test_plan(n, batch, chunk):
    """Pieces follow each other through the rows; opens and closes bound minibatches."""
    plan = plan_epoch(np.array(n), np.array(batch), chunk)
    for k in range(len(n)):
        rows, sizes, size = [], [], 0
        for segment in plan:
            assert segment.width <= chunk
            for t, (opens, closes) in enumerate(
                zip(segment.opens, segment.closes, strict=True)
            ):
                size = 0 if opens else size
                count = int(segment.counts[k])
                start = int(segment.starts[t, k])
                rows += range(start, start + count)
                size += count
                if closes:
                    assert size == segment.sizes[k]
                    sizes.append(size)
                if size:
                    end = min((len(sizes) + (not closes)) * batch[k], n[k])
                    assert segment.stops[t, k] == end
        assert rows == list(range(n[k]))
        full, rest = divmod(n[k], batch[k])
        own = [batch[k]] * full + [rest] * (rest > 0)
        assert sizes == own + [0] * (len(sizes) - len(own))


def test_plan_of_a_long_epoch_is_short():
    """One segment for all that is alike: work on it once an epoch must be cheap."""
    assert len(plan_epoch(np.array([10**6]), np.array([32]), 128)) == 1
    assert len(plan_epoch(np.array([10**6 + 1] * 3), np.array([32] * 3), 128)) == 2


def rows_of(n, weighted=False, seed=0):
    """A table of 120 numbered rows, of which each network has a random part."""
    rng = np.random.default_rng(seed)
    x, y = design(np.arange(120.0)[:, None]), -torch.arange(120.0)[:, None]
    parts = []
    for size in n:
        index = torch.from_numpy(rng.permutation(120)[:size])
        weight = torch.from_numpy(rng.uniform(0.5, 2.0, size)) if weighted else None
        parts.append((x, y, index, weight))
    return row_set(parts, CPU, torch.float64)


def fed(feeder, orders):
    """What each network was given: its rows in turn, with their part in the mean."""
    K = feeder.K
    rows, parts = [[] for _ in range(K)], [[] for _ in range(K)]
    for block in feeder.epoch(orders):
        for step in block.steps[: block.n_pieces]:
            x, y = step.x.reshape(K, -1, 2), step.y.reshape(K, -1, 1)
            part = step.coefficient.expand(K, x.shape[1], 1)
            assert torch.equal(step.x_t, step.x.transpose(-1, -2))
            assert torch.equal(y[..., 0], -x[..., 0]) and (x[..., 1] == 1).all()
            for k, count in enumerate(block.kind.segment.counts):
                rows[k] += x[k, :count, 0].tolist()
                parts[k] += part[k, :count, 0].tolist()
                assert (part[k, count:] == 0).all()  # padding counts for nothing
    return rows, parts


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("blocks", ["large", "small"])
@each_plan
def test_each_network_is_fed_its_rows(monkeypatch, n, batch, chunk, weighted, blocks):
    if blocks == "small":
        monkeypatch.setattr(feeder_module, "BLOCK_BYTES", 1)
        monkeypatch.setattr(feeder_module, "STATIC_BYTES", 0)
    cut = partial(plan_epoch, chunk=chunk)
    monkeypatch.setattr(feeder_module, "plan_epoch", lambda n, batch, _: cut(n, batch))
    data, rng = rows_of(n, weighted), np.random.default_rng(1)
    feeder = Feeder(data, np.array(batch), n_raw=1, widest=1)
    orders = [torch.from_numpy(rng.permutation(size)) for size in n]
    table = plain_orders(np.array(n))
    for row, order in zip(table, orders, strict=True):
        row[: len(order)], row[len(order) :] = order, order[-1]
    in_order = [torch.arange(size) for size in n]
    for asked, expected in ((table, orders), (None, in_order), (None, in_order)):
        rows, parts = fed(feeder, asked)
        for k, order in enumerate(expected):
            own = data.index[k][order]
            assert rows[k] == own.tolist()
            weight = data.weight[k][order] if weighted else torch.ones(n[k])
            # w / (rows of the minibatch x mean weight of all the network's rows)
            sizes = [batch[k]] * (n[k] // batch[k]) + [n[k] % batch[k]]
            size = np.repeat(sizes, sizes)
            part = weight.numpy() / size / float(weight.double().mean())
            np.testing.assert_allclose(parts[k], part)


def test_orders_are_those_of_the_generators():
    n, shuffled = np.array([5, 9, 9]), np.array([True, False, True])
    seeds = [torch.Generator().manual_seed(k) for k in range(3)]
    shuffler = Shuffler(n, shuffled, seeds)
    again = [torch.Generator().manual_seed(k) for k in range(3)]
    for _ in range(2):  # the table is the same, what stands in it is not
        first, second, third = shuffler.draw()
        expected = torch.randperm(5, generator=again[0])
        assert torch.equal(first[:5], expected) and (first[5:] == expected[-1]).all()
        assert torch.equal(second, torch.arange(9))
        assert torch.equal(third, torch.randperm(9, generator=again[2]))


def test_nothing_is_drawn_for_rows_that_stay():
    seeds = [torch.Generator().manual_seed(k) for k in range(2)]
    before = seeds[0].get_state()
    assert Shuffler(np.array([4, 6]), np.zeros(2, bool), seeds).draw() is None
    assert torch.equal(seeds[0].get_state(), before)
    assert plain_orders(np.array([2, 4])).tolist() == [[0, 1, 1, 1], [0, 1, 2, 3]]


def test_a_whole_table_in_order_is_not_copied():
    table = design(np.arange(120.0)[:, None])
    data = row_set([(table, table[:, :1], torch.arange(120), None)], CPU, torch.float64)
    feeder = Feeder(data, np.array([50]), n_raw=1, widest=1)
    starts = [block.steps[0].x.data_ptr() for block in feeder.epoch(None)]
    assert starts[0] == table.data_ptr()
    assert [b - a for a, b in pairwise(starts)] == [100 * 2 * 8]
    shuffled = row_set(
        [(table, table[:, :1], torch.arange(120).flip(0), None)], CPU, torch.float64
    )
    assert not shuffled.contiguous  # as long as the table, in another order


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("keep", [[2, 0], [1]])
@pytest.mark.parametrize("chunk", [999, 32])
@pytest.mark.parametrize("n", [[100, 60, 97], [100, 100, 100]])
def test_some_networks_are_fed_what_is_kept(monkeypatch, n, chunk, keep, weighted):
    cut = partial(plan_epoch, chunk=chunk)
    monkeypatch.setattr(feeder_module, "plan_epoch", lambda n, batch, _: cut(n, batch))
    feeder = Feeder(rows_of(n, weighted), np.array(n), n_raw=1, widest=1)
    assert feeder.select(keep) is None  # nothing is kept before the first epoch
    blocks = list(feeder.epoch(None))
    some = feeder.select(keep)
    for block, own in zip(blocks, some.epoch(None), strict=True):
        assert (own.opens, own.closes) == (block.opens, block.closes)
        for step, part in zip(block.steps, own.steps, strict=True):
            b = step.x.shape[1]
            assert torch.equal(part.x.reshape(len(keep), b, 2), step.x[keep])
            assert torch.equal(part.y.reshape(len(keep), b, 1), step.y[keep])
            rates = step.coefficient.expand(3, b, 1)[keep]
            assert torch.equal(
                part.coefficient.expand(*part.raw.shape).reshape(rates.shape), rates
            )
        values = torch.rand(block.n_pieces, 3, block.b, dtype=torch.float64)
        recorded = own.record(values[:, keep].clone())
        torch.testing.assert_close(recorded, block.record(values)[keep])


# ------------------------------------------------------------------------- dropout


def streams(K=1):
    return [np.random.Generator(np.random.SFC64(k)) for k in range(K)]


def test_dropout_factors():
    """0 or 1 / (1 - rate), as often as the rate says, in each layer."""
    rates = np.array([0.0, 0.25, 0.5])
    dropout = Dropout(rates, streams(3), [7, 5])
    for k, rate in enumerate(rates):
        first, second = dropout.draw(k, 40, 50)
        assert first.shape == (40, 50, 7) and second.shape == (40, 50, 5)
        for factors in (first, second):
            assert set(np.unique(factors)) <= {0.0, 1 / (1 - rate)}
            error = np.sqrt(rate * (1 - rate) / factors.size)
            assert abs((factors == 0).mean() - rate) <= 4 * error


def test_dropout_of_nearly_all_units():
    dropout = Dropout(np.array([1 - 1e-9]), streams(), [4])
    (factors,) = dropout.draw(0, 1, 100)
    assert (factors > 0).mean() < 0.02


@pytest.mark.parametrize("widths", [[1], [7, 6], [8]])
def test_dropout_does_not_depend_on_the_cut(widths):
    """Sixty rows in one piece, in pieces of twenty, or in unequal ones."""
    whole = Dropout(np.array([0.4]), streams(), widths).draw(0, 1, 60)
    for cut in ([(3, 20)], [(1, 13), (2, 20), (1, 7)], [(1, 0), (1, 60)]):
        dropout = Dropout(np.array([0.4]), streams(), widths)
        drawn = [dropout.draw(0, pieces, count) for pieces, count in cut]
        for layer, factors in enumerate(whole):
            found = [part[layer].reshape(-1, widths[layer]) for part in drawn]
            np.testing.assert_array_equal(np.concatenate(found), factors[0])


@pytest.mark.parametrize("batch", [32, 100_000])
def test_masks_take_little_memory(batch):
    """They are wider than the rows, so they decide how many rows a block holds."""
    n, width = 100_000, 500
    table = torch.ones(n, 2)
    data = row_set([(table, table[:, :1], torch.arange(n), None)], CPU, torch.float32)
    dropout = Dropout(np.array([0.5]), streams(), [width])
    feeder = Feeder(data, np.array([batch]), 1, width, dropout)
    block = next(feeder.epoch(None))
    assert sum(mask.nbytes for mask in block.masks) <= 4 * max(
        feeder_module.BLOCK_BYTES, feeder_module.CHUNK_NUMBERS
    )


def test_batches_cut_into_pieces_share_their_blocks(monkeypatch):
    """Else the blocks of an epoch would hold the whole table once more."""
    monkeypatch.setattr(feeder_module, "CHUNK_NUMBERS", 128 * 7)
    x, y = torch.rand(2000, 3), torch.rand(2000, 1)
    rows = row_set([(x, y, torch.randperm(2000), None)], CPU, torch.float32)
    feeder = Feeder(rows, np.array([200]), 1, 7)
    seen = [
        float(step.x.sum())
        for block in feeder.epoch(torch.randperm(2000)[None])
        for step in block.steps[: block.n_pieces]
    ]
    assert len(seen) == 20  # 128 rows and 72, ten times
    assert len(feeder._blocks) == 2
    np.testing.assert_allclose(sum(seen), float(x.sum()), rtol=1e-4)
