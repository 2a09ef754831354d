"""Small captures of random numbers, the same on every call: units as a capture would write them."""

import hashlib
import json

import numpy as np

from ropediag import schema
from ropediag.schema import lag_edges, position_edges
from ropediag.store import CaptureWriter

LENGTH = 40
GROUPS = schema.REPLICATES


def make_header(sequences=2, layers=(0, 1, 2), heads=4, kv_heads=2, pairs=3, length=LENGTH):
    """Coordinates and start variables of a model with ``2 * pairs + 2`` channels a head."""
    random = np.random.default_rng(0)
    header = {
        "sequence": np.arange(sequences),
        "layer": np.array(layers),
        "query_head": np.arange(heads),
        "kv_head": np.arange(kv_heads),
        "pair": np.arange(pairs),
        "lag": np.array(lag_edges(length)),
        "coarse_lag": np.array(lag_edges(length, per_doubling=2)),
        "position": np.arange(length),
        "position_bin": np.array(position_edges(length, 8)),
        "norm_bin": np.array(position_edges(length, 4)),
        "row": np.arange(3),
        "level": np.array([0.05, 0.5, 0.95]),
        "sample": np.array([0, 5, length - 1]),
        "channel": np.arange(2 * pairs + 2),
        "token": np.array([3, 7, 9]),
        "kept": np.arange(2),
        "query_block": np.arange(0, length, 16),
        "key_block": np.arange(0, length, 16),
    }
    shape = (len(layers), pairs)
    channels = np.stack([np.arange(pairs), np.arange(pairs) + pairs], axis=-1)
    header |= {
        "rope/inv_freq": np.broadcast_to(10_000.0 ** (-np.arange(pairs) / pairs), shape),
        "rope/base": np.full(len(layers), 10_000.0),
        "rope/channels": np.broadcast_to(channels, (*shape, 2)),
        "rope/attention_factor": np.ones(len(layers)),
        "rope/head_dim": np.full(len(layers), 2 * pairs + 2),
        "rope/critical_pair": np.full(len(layers), 1),
        "rope/logit_scaling": np.full(len(layers), 0.3),
        "rope/window": np.array([16, *[-1] * (len(layers) - 1)]),
        "rope/logit_softcap": np.full(len(layers), np.nan),
        "tokens/input_ids": random.choice([3, 7, 9], size=(sequences, length)),
        "tokens/piece": np.array(["a", " é", "\n"], dtype=object),
        "rows/query_position": np.sort(random.choice(length, size=(sequences, 3), replace=False), axis=1),
        "vectors/angle": random.uniform(-3, 3, (*shape, 3)),
        "vectors/angle_error": random.normal(size=(*shape, 3)),
        "samples/kept_layer": np.array([layers[0], layers[-1]]),
        "samples/kept_head": np.array([1, 0]),
    }
    return header


def make_attributes(**changes):
    attributes = {
        "kind": "capture",
        "model": "toy",
        "architecture": "llama",
        "config": json.dumps({"length": LENGTH}),
        "weight_fingerprint": "ab" * 32,
        "text_hash": hashlib.sha256(b"text").hexdigest(),
        "length": LENGTH,
        "layout": "half",
        "base": 10_000.0,
        "pretrain_base": float("nan"),
        "train_len": 16,
        "tune_len": 0,
        "ropediag_version": "0.1.0",
    }
    return attributes | changes


def make_layer(header, sequence, layer, *, offset=0.0, heads=None, pairs=None):
    """One layer unit: contributions with the mean ``offset``; fewer heads or pairs on request."""
    random = np.random.default_rng([sequence, layer])
    sizes = {name: len(values) for name, values in header.items() if "/" not in name}
    sizes |= {"query_head": heads or sizes["query_head"], "group": GROUPS}
    sizes |= {"pair": sizes["pair"] if pairs is None else pairs}
    unit = {}
    for variable in schema.VARIABLES:
        if variable.pooled or variable.group == "attribution":  # no group of a capture
            continue
        if not {"sequence", "layer"} <= set(variable.dims):
            continue
        shape = [sizes[dim] for dim in variable.dims if dim not in ("sequence", "layer")]
        unit[variable.path] = random.normal(size=shape).astype("f4")
    kept = int(np.sum(header["samples/kept_layer"] == layer))
    for name in ("query", "key"):
        unit[f"samples/kept_{name}"] = random.normal(size=(kept, sizes["position"], sizes["channel"])).astype(
            "f4"
        )
    blocks = sizes["query_block"], sizes["key_block"]
    unit["samples/kept_maximum"] = random.normal(size=(kept, *blocks)).astype("f4")
    values, unit["scores/pair_count"] = make_contributions(random, sizes, offset)
    unit["scores/sum"] = values.sum(axis=-1)
    unit["scores/sum_square"] = (values**2).sum(axis=(1, -1))
    unit["scores/rest_sum"] = random.normal(size=(sizes["query_head"], sizes["lag"]))
    return unit


def make_contributions(random, sizes, offset):
    """Contributions (query_head, group, pair, lag, query-key pair), zero where there is no such pair."""
    count = random.integers(0, 5, size=(sizes["group"], sizes["lag"]))
    count[:, -1] = 0  # a bin beyond every query
    count[1:, -2] = 0  # a bin only one replicate reaches
    shape = (sizes["query_head"], sizes["group"], sizes["pair"], sizes["lag"], 5)
    values = offset + random.normal(size=shape)
    present = np.arange(5) < count[None, :, None, :, None]
    return np.where(present, values, 0.0), count


def make_loss(sequence):
    random = np.random.default_rng([99, sequence])
    nll = random.gamma(2.0, size=LENGTH).astype("f4")
    nll[0] = np.nan
    return {"loss/nll": nll, "loss/nll_windowed": nll + 0.5}


def write_capture(path, sequences=2, **header_sizes):
    """A whole finished capture."""
    header = make_header(sequences, **header_sizes)
    with CaptureWriter.create(path, header, make_attributes()) as writer:
        write_units(writer, header)
        return writer.finish({"seconds": 1.5})


def write_units(writer, header, **layer_options):
    """Write every unit that is not there yet."""
    for sequence in header["sequence"].tolist():
        for layer in header["layer"].tolist():
            if not writer.has_layer(sequence, layer):
                writer.write_layer(sequence, layer, make_layer(header, sequence, layer, **layer_options))
        if not writer.has_loss(sequence):
            writer.write_loss(sequence, make_loss(sequence))
