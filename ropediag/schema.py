"""The file format as data: every dimension and variable, with its units and its meaning.

``captures/README.md`` is generated from these tables, the writer refuses what they do not name, and
the reader checks files against them. Changing a table is a change of format: raise ``VERSION``.

Axis conventions: ``pair`` runs from the fastest rotary pair to the slowest; a lag bin and a position
bin are named by their lower edge and reach to the next one; what a layer does not have (fewer heads,
fewer pairs, no rotation, lags beyond its window) is NaN, in integers -1.
"""

from dataclasses import dataclass

VERSION = 8
SEALED_SINCE = 5  # the version from which on a finished file ends with a seal
KINDS = ("capture", "evaluation", "ablation", "attribution", "study")
REPLICATES = 8  # per sequence: the groups of query positions whose spread gives the standard errors
BLOCKS, LEAST_BLOCK = 1024, 16  # maxima of a kept head: blocks a side, at most; tokens of a block, at least


@dataclass(frozen=True)
class Dimension:
    """One named axis; its coordinate variable, where it has one, carries ``units``."""

    name: str
    dtype: str
    units: str
    long_name: str


@dataclass(frozen=True)
class Variable:
    """One array of the file.

    ``method`` says how it was obtained: ``exact`` (over all query-key pairs or positions), ``sampled``
    (from some of them) or ``given`` (not a statistic). ``pooled`` marks statistics over all sequences,
    which the store computes from per-sequence sums.
    """

    group: str
    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    method: str
    pooled: bool = False

    @property
    def path(self) -> str:
        """Group and name, as in the file."""
        return f"{self.group}/{self.name}"


DIMENSIONS = (
    Dimension("sequence", "i4", "1", "index of the token sequence"),
    Dimension("layer", "i4", "1", "index of the decoder layer in the model"),
    Dimension("query_head", "i4", "1", "index of the query head in its layer"),
    Dimension("kv_head", "i4", "1", "index of the key head in its layer"),
    Dimension("pair", "i4", "1", "rotary pair, 0 turns fastest"),
    Dimension(
        "lag", "i8", "tokens", "lower edge of the lag bin (query position - key position), 8 per doubling"
    ),
    Dimension("coarse_lag", "i8", "tokens", "lower edge of the lag bin, 2 per doubling"),
    Dimension("position", "i8", "tokens", "index of the token in its sequence"),
    Dimension("position_bin", "i8", "tokens", "lower edge of the bin of query positions"),
    Dimension("norm_bin", "i8", "tokens", "lower edge of the bin of positions"),
    Dimension("row", "i4", "1", "index of the sampled query"),
    Dimension("level", "f8", "1", "level of the quantile"),
    Dimension("replicate", "i4", "1", "replicate: a sequence, or a group of query positions within one"),
    Dimension("sample", "i8", "tokens", "sampled position"),
    Dimension("channel", "i4", "1", "channel of the head"),
    Dimension("side", "i4", "1", "0 and 1: the two channels that form a pair"),
    Dimension("token", "i8", "1", "token id that occurs in the capture"),
    Dimension(
        "kept", "i4", "1", "index of the (layer, query head) whose vectors were kept at every position"
    ),
    Dimension("query_block", "i8", "tokens", "first query of the block, a power of two of them"),
    Dimension("key_block", "i8", "tokens", "first key of the block, as many as queries"),
    Dimension("task", "i4", "1", "index of the recall task"),
    Dimension("length", "i8", "tokens", "tokens of the recall prompt, the answer included"),
    Dimension(
        "depth", "f8", "1", "place in the prompt of what is asked for: 0 its beginning, 1 before the question"
    ),
    Dimension("phase", "i4", "1", "index of the phase of training, oldest first"),
    Dimension(
        "run",
        "i4",
        "1",
        "index of the intervention: on the chosen pairs, then on random sets; so for each multiple of the reach",
    ),
    Dimension("stretch", "i8", "tokens", "first position of a stretch whose mean loss was split"),
)

_SCORE = ("layer", "query_head", "pair", "lag")
_ROW = ("sequence", "layer", "query_head", "row")
_COARSE = ("sequence", "layer", "query_head", "pair", "coarse_lag")
_PARTIAL = ("sequence", "layer", "query_head", "position_bin")

VARIABLES = (
    # rope: the geometry as the model applies it, and how a layer makes logits of rotated queries and keys
    Variable("rope", "inv_freq", ("layer", "pair"), "f8", "rad/token", "rotation per token, from the model's own buffers; NaN where the layer has no such pair", "given"),
    Variable("rope", "base", ("layer",), "f8", "1", "rotary base of the layer (rope_theta), from the config; NaN without RoPE", "given"),
    Variable("rope", "channels", ("layer", "pair", "side"), "i4", "1", "the two channels of each pair", "given"),
    Variable("rope", "attention_factor", ("layer",), "f8", "1", "factor on cosine and sine; logits carry its square", "given"),
    Variable("rope", "head_dim", ("layer",), "i4", "1", "channels of a query or key head, rotated or not", "given"),
    Variable("rope", "critical_pair", ("layer",), "i4", "1", "first pair without a full turn in training, as known when measured: partial/* is split there; -1 without RoPE", "given"),
    Variable("rope", "logit_scaling", ("layer",), "f8", "1", "factor from the product of rotated query and key to the logit", "given"),
    Variable("rope", "window", ("layer",), "i8", "tokens", "lags 0 to window - 1 are visible; -1: all", "given"),
    Variable("rope", "logit_softcap", ("layer",), "f8", "logit", "the softmax sees softcap * tanh(logit / softcap), all else in this file the logit itself; NaN: no cap", "given"),
    # training: the phases that the model was trained in, oldest first
    Variable("training", "sequence_len", ("phase",), "i8", "tokens", "length of a sequence", "given"),
    Variable("training", "label", ("phase",), "str", "1", "what the phase is called", "given"),
    Variable("training", "source", ("phase",), "str", "1", "who states it", "given"),
    Variable("training", "base", ("phase", "layer"), "f8", "1", "rotary base of the layer in the phase; NaN without RoPE", "given"),
    Variable("training", "window", ("phase", "layer"), "i8", "tokens", "lags 0 to window - 1 were visible; -1: all", "given"),
    Variable("training", "inv_freq", ("phase", "layer", "pair"), "f8", "rad/token", "rotation per token in the phase, after any scaling rule; NaN where the layer has no such pair", "given"),
    # tokens
    Variable("tokens", "input_ids", ("sequence", "position"), "i8", "1", "token ids the model read", "given"),
    Variable("tokens", "piece", ("token",), "str", "1", "text of each token id", "given"),
    # loss by position of the token predicted; position 0 is not predicted and is NaN
    Variable("loss", "nll", ("sequence", "position"), "f4", "nats", "negative log-likelihood of the token at this position given all before it", "exact"),
    Variable("loss", "nll_windowed", ("sequence", "position"), "f4", "nats", "the same token's, given fewer than window_len tokens before it (windows of window_len, stride half of it)", "exact"),
    # recall: what the model finds again in a prompt
    Variable("recall", "task_name", ("task",), "str", "1", "key-value (lines among text, answers to single queries), passkey or needle (prompts)", "given"),
    Variable("recall", "hits", ("task", "length", "depth"), "i8", "1", "answers whose every token the model ranks first, all before it given", "sampled"),
    Variable("recall", "count", ("task", "length", "depth"), "i8", "1", "answers asked for; 0 where no prompt of this length exists", "sampled"),
    Variable("recall", "answer_lag", ("task", "length", "depth"), "f4", "tokens", "mean distance from the answer back to what it repeats", "exact"),
    # ablation: the loss under an intervention
    Variable("ablation", "nll", ("run", "sequence", "position"), "f4", "nats", "negative log-likelihood of the token at this position, given all before it, under the intervention", "exact"),
    Variable("ablation", "chosen", ("run", "layer", "query_head", "pair"), "i4", "1", "1 where the intervention works on the pair, else 0", "given"),
    Variable("ablation", "at", ("run",), "f8", "1", "multiple of each pair's trained reach beyond which its lag was limited; only where the limits go by the reach", "given"),
    Variable("ablation", "lag_limit", ("run", "layer", "query_head", "pair"), "f8", "tokens", "lag beyond which the pair's lag was clipped or folded; NaN where the pair was not changed", "given"),
    # attribution: what angles beyond a limit on the lag cost, split over gates of single pairs
    Variable("attribution", "nats", ("sequence", "stretch", "layer", "query_head", "pair"), "f8", "nats", "part of the difference between the loss as it is and at limited lags, mean over the positions of the stretch; NaN where there is no gate", "exact"),
    Variable("attribution", "positions", ("stretch",), "i8", "1", "positions of the stretch", "given"),
    Variable("attribution", "by_lag", ("sequence", "layer", "query_head", "pair", "lag"), "f4", "nats", "the same by lag, mean over all positions", "exact"),
    Variable("attribution", "first_keys", ("sequence", "layer", "query_head", "pair"), "f8", "nats", "the part of it that passes through the first keys of the sequence, mean over all positions", "exact"),
    Variable("attribution", "nll_limited", ("sequence", "position"), "f4", "nats", "negative log-likelihood of the token at this position, given all before it, at limited lags", "exact"),
    Variable("attribution", "lag_limit", ("layer", "pair"), "f8", "tokens", "lag beyond which the pair's lag is limited where its gate is 0; NaN where there is no gate", "given"),
    # scores: contributions of single pairs to the logit, by lag
    Variable("scores", "count", ("layer", "lag"), "i8", "1", "query-key pairs in the bin, over all sequences", "exact", pooled=True),
    Variable("scores", "mean", _SCORE, "f4", "logit", "mean contribution of the pair over all query-key pairs in the bin", "exact", pooled=True),
    Variable("scores", "std", _SCORE, "f4", "logit", "standard deviation of the contribution over all query-key pairs in the bin", "exact", pooled=True),
    Variable("scores", "mean_se", _SCORE, "f4", "logit", "standard error of the mean, from the spread of the replicates; NaN with fewer than two", "exact", pooled=True),
    Variable("scores", "replicate_mean", ("replicate", "layer", "query_head", "pair", "coarse_lag"), "f4", "logit", "mean contribution within one replicate", "exact", pooled=True),
    Variable("scores", "replicate_count", ("replicate", "layer", "coarse_lag"), "i8", "1", "query-key pairs behind replicate_mean", "exact", pooled=True),
    Variable("scores", "rest_mean", ("layer", "query_head", "lag"), "f4", "logit", "mean contribution of all channels that are not rotated", "exact", pooled=True),
    Variable("scores", "lag_mean_min", ("sequence", *_SCORE), "f4", "logit", "smallest of the means at the single lags of the bin", "exact"),
    Variable("scores", "lag_mean_max", ("sequence", *_SCORE), "f4", "logit", "largest of the means at the single lags of the bin", "exact"),
    # partial: the logit split at the critical pair, by query position
    Variable("partial", "before_mean", _PARTIAL, "f4", "logit", "sum of the pairs before the critical one: mean over visible keys, averaged over the bin's queries", "exact"),
    Variable("partial", "before_std", _PARTIAL, "f4", "logit", "its standard deviation over visible keys, root mean square over the bin's queries", "exact"),
    Variable("partial", "past_mean", _PARTIAL, "f4", "logit", "sum of the critical pair and all slower ones: mean over visible keys, averaged over the bin's queries", "exact"),
    Variable("partial", "past_std", _PARTIAL, "f4", "logit", "its standard deviation over visible keys, root mean square over the bin's queries", "exact"),
    # rows: sampled queries against all their keys
    Variable("rows", "query_position", ("sequence", "row"), "i8", "tokens", "position of the sampled query", "given"),
    Variable("rows", "minimum", _COARSE, "f4", "logit", "smallest contribution among the sampled queries, over all their keys in the bin", "sampled"),
    Variable("rows", "maximum", _COARSE, "f4", "logit", "largest contribution among the sampled queries, over all their keys in the bin", "sampled"),
    Variable("rows", "quantile", (*_COARSE, "level"), "f4", "logit", "quantiles of the contribution, over sampled queries and sampled keys of the bin", "sampled"),
    Variable("rows", "logsumexp", _ROW, "f4", "logit", "log of the softmax denominator, attention sinks included", "sampled"),
    Variable("rows", "entropy", _ROW, "f4", "nats", "entropy of the attention weights", "sampled"),
    Variable("rows", "max_weight", _ROW, "f4", "1", "largest attention weight", "sampled"),
    Variable("rows", "sink_mass", _ROW, "f4", "1", "attention weight on the first position", "sampled"),
    Variable("rows", "mass", (*_ROW, "lag"), "f4", "1", "sum of the attention weights in the lag bin", "sampled"),
    # vectors: queries and keys pair by pair
    Variable("vectors", "angle", ("layer", "pair", "sample"), "f8", "rad", "rotation the model really applied at the position, in (-pi, pi]", "sampled"),
    Variable("vectors", "angle_error", ("layer", "pair", "sample"), "f8", "rad", "angle minus position times the frequency that the config states, in float64; times inv_freq where it states none that is near", "sampled"),
    Variable("vectors", "query_norm", ("sequence", "layer", "query_head", "pair", "norm_bin"), "f4", "1", "root mean square of the pair's length in the query, attention factor included", "exact"),
    Variable("vectors", "key_norm", ("sequence", "layer", "kv_head", "pair", "norm_bin"), "f4", "1", "root mean square of the pair's length in the key, attention factor included", "exact"),
    Variable("vectors", "query_offset", ("sequence", "layer", "query_head", "pair"), "f4", "1", "length of the mean pre-rotary query over the root mean square of its length", "exact"),
    Variable("vectors", "query_phase", ("sequence", "layer", "query_head", "pair"), "f4", "rad", "direction of the mean pre-rotary query", "exact"),
    Variable("vectors", "key_offset", ("sequence", "layer", "kv_head", "pair"), "f4", "1", "length of the mean pre-rotary key over the root mean square of its length", "exact"),
    Variable("vectors", "key_phase", ("sequence", "layer", "kv_head", "pair"), "f4", "rad", "direction of the mean pre-rotary key", "exact"),
    # samples: the vectors themselves, before rotation
    Variable("samples", "query", ("sequence", "layer", "query_head", "sample", "channel"), "f4", "1", "pre-rotary query at sampled positions", "sampled"),
    Variable("samples", "key", ("sequence", "layer", "kv_head", "sample", "channel"), "f4", "1", "pre-rotary key at sampled positions", "sampled"),
    Variable("samples", "kept_layer", ("kept",), "i4", "1", "layer of the kept head", "given"),
    Variable("samples", "kept_head", ("kept",), "i4", "1", "query head that was kept", "given"),
    Variable("samples", "kept_query", ("sequence", "kept", "position", "channel"), "f4", "1", "pre-rotary query at every position, on request", "exact"),
    Variable("samples", "kept_key", ("sequence", "kept", "position", "channel"), "f4", "1", "pre-rotary key of the head's key head at every position, on request", "exact"),
    Variable("samples", "kept_maximum", ("sequence", "kept", "query_block", "key_block"), "f4", "logit", "largest logit between the queries of one block and their visible keys in another; NaN where there are none", "exact"),
)  # fmt: skip

ATTRIBUTES = {
    "schema_version": "version of this format",
    "kind": "what the file holds: " + ", ".join(KINDS),
    "status": "complete, or partial: some (sequence, layer) units are still missing",
    "ropediag_version": "version of ropediag that wrote the file",
    "torch_version": "version of torch",
    "transformers_version": "version of transformers",
    "model": "name of the model",
    "commit": "commit of the model on the hub; absent for a model from a folder or from memory",
    "architecture": "model type in transformers",
    "weight_fingerprint": "sha256 over names, shapes and a fixed sample of the values of all parameters",
    "config": "configuration of the run, JSON",
    "device": "device of the forward pass",
    "dtype": "data type of the weights in the passes",
    "dtype_reason": "why it is not that of the checkpoint, or slow on this device; absent where neither holds",
    "attention": "attention implementation of the forward pass",
    "seed": "seed of text and query sampling",
    "length": "tokens per sequence",
    "text_hash": "sha256 of the token ids",
    "bos": "special tokens with which each sequence and each window of the windowed loss begins, as text; empty if "
    "none; a file without this attribute was read without",
    "layout": "how channels form pairs: half (n, n + rotary_dim/2) or interleaved (2n, 2n + 1)",
    "base": "rotary base of the model (rope_theta); NaN where unknown",
    "pretrain_base": "rotary base of pretraining; NaN where unknown",
    "train_len": "tokens per sequence in the first phase of training; 0 where unknown",
    "tune_len": "tokens per sequence in the last one; 0 where unknown",
    "phases": "phases of training as they were stated, JSON; files before version 7 have none",
    "window_len": "tokens of the windows of loss/nll_windowed; files before version 7 have train_len",
    "created": "when the run began, UTC",
    "seconds": "wall time of the run",
    "figures": "figures of an evaluation, an ablation or an attribution, JSON",
}


def lag_edges(length: int, per_doubling: int = 8) -> list[int]:
    """List the lower edges of the lag bins below ``length``, the same for every length and model.

    Lags up to ``per_doubling`` stand alone; from there each doubling holds ``per_doubling`` bins.
    """
    edges = list(range(min(per_doubling, length)))
    start = per_doubling
    while start < length:
        width = start // per_doubling
        edges.extend(edge for edge in range(start, 2 * start, width) if edge < length)
        start *= 2
    return edges


def position_edges(length: int, bins: int) -> list[int]:
    """List the lower edges of ``bins`` equal bins of positions below ``length`` (fewer if it is short)."""
    count = min(bins, length)
    return [index * length // count for index in range(count)]


def block_size(length: int) -> int:
    """Count the queries, and keys, of the blocks over which the maxima of a kept head are taken.

    A power of two: ``LEAST_BLOCK``, or as much more as ``BLOCKS`` blocks require.
    """
    size = LEAST_BLOCK
    while BLOCKS * size < length:
        size *= 2
    return size
