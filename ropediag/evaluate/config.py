"""What an evaluation is asked to do, checked on construction, before any model loads."""

import json
from dataclasses import asdict, dataclass

from ropediag.config import AnyPath, AnyPaths, check_least, check_run, settle_paths
from ropediag.errors import ConfigError
from ropediag.theory.phases import PhaseSpec


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation of one model.

    Attributes
    ----------
    model : checkpoint directory, hub id, or ``demo`` for the bundled model
    length : tokens per sequence, at least 2
    out : the file to write; None to write none
    revision : branch, tag or commit on the hub
    text : text files or folders; none for the bundled held-out text
    bos : whether sequences, windows and prompts begin with the tokenizer's leading special tokens; if None,
        as the tokenizer begins a text
    tokens : a ``.npy`` file of token ids, instead of text
    sequences : how many token sequences
    device, dtype, attention : as for ``load_model``
    seed : seed of the choice of text and of the recall prompts
    train_len, tune_len, pretrain_base, phases : of training, as in ``CaptureConfig``
    parent : the checkpoint that the model was tuned from, for what tuning cost in short context
    log_attention : multiply the logits of the query at position t by max(1, log(t + 1) / log(train_len))
    window, stride : of the sliding-window perplexity, tokens; the training length and half the window if None
    trials : recall prompts at each length and depth; 0 for no recall
    tasks : benchmarks of lm-evaluation-harness, by name
    force : replace an existing file
    allow_pickle : read pickled weights
    """

    model: str
    length: int
    out: AnyPath | None = None
    revision: str | None = None
    text: AnyPaths = ()
    tokens: AnyPath | None = None
    sequences: int = 1
    device: str = "auto"
    dtype: str = "auto"
    attention: str | None = None
    seed: int = 0
    train_len: int | None = None
    tune_len: int | None = None
    pretrain_base: float | None = None
    phases: tuple[PhaseSpec, ...] = ()
    parent: str | None = None
    log_attention: bool = False
    window: int | None = None
    stride: int | None = None
    trials: int = 8
    tasks: tuple[str, ...] = ()
    bos: bool | None = None
    force: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        settle_paths(self)
        check_run(self)
        check_least(self, "window", 2, "tokens of a sliding window")
        check_least(self, "stride", 1, "tokens between sliding windows")
        check_least(self, "trials", 0, "recall prompts at each length and depth")
        if self.window:
            self.sliding_window(self.window)
        if self.log_attention and self.tasks:
            raise ConfigError(
                "give log_attention or tasks, not both: the harness generates with a cache, where the "
                "position of a query cannot be told from its place in the call."
            )

    def sliding_window(self, train_len: int) -> tuple[int, int]:
        """Window and stride of the sliding-window perplexity, tokens.

        Raises
        ------
        ConfigError
            If the stride reaches the window.
        """
        window = self.window or train_len
        stride = self.stride or max(1, window // 2)
        if stride >= window:
            raise ConfigError(
                f"stride must be below the window, {window} tokens, so that every token has context: "
                f"got {stride}."
            )
        return window, stride

    def recipe(self) -> str:
        """The fields that decide the numbers, as JSON."""
        fields = asdict(self)
        for name in ("out", "force", "device", "allow_pickle"):
            fields.pop(name)
        return json.dumps(fields, default=str, sort_keys=True)
