"""The description of the file format, written out of the schema: ``python -m ropediag.format_doc``.

Its output is ``captures/README.md``; a test holds the two together.
"""

from collections.abc import Iterable

from ropediag import schema

_OPENING = f"""\
# The capture file, format {schema.VERSION}

Generated from `ropediag/schema.py` by `python -m ropediag.format_doc > captures/README.md`; edit the schema,
not this page.

A capture is one HDF5 file with netCDF-4 named dimensions: every array has labelled axes and says its unit,
its meaning and how it was obtained. So is an evaluation, with the groups `loss` and `recall`, an ablation,
with `loss` and `ablation`, and an attribution, with `loss` and `attribution`. All open in any HDF5 or netCDF
reader:

```python
from ropediag.store import open_capture

with open_capture("NAME.h5") as capture:  # finished, or NAME.h5.partial while it runs
    mean = capture["scores/mean"]  # labelled array, read when used
    mean.sel(layer=3, query_head=0, pair=20)
    capture.scores, capture.attrs, capture.spec()
```

```python
xarray.open_datatree("NAME.h5")  # or open_dataset("NAME.h5", group="scores")
```

```sh
ropediag info NAME.h5
ncdump -h NAME.h5
```

## Conventions

- A *contribution* is what one rotary pair adds to the logit of a query and a key; a *lag* is query position
  minus key position. Logits are before the softmax, weights after it, a mass is a sum of weights.
- `exact`: over all query-key pairs or positions; `sampled`: over some of them; `given`: not a statistic.
- A bin is named by its lower edge and reaches to the next one. Each doubling of the lag holds 8 bins (`lag`)
  or 2 (`coarse_lag`), the shortest lags stand alone; the edges are the same for every length and model.
- What does not exist (a head or pair that a layer lacks, a lag beyond its window, a layer that is still to
  come) is NaN, in integers -1, in counts 0.
- *Pooled* statistics take all sequences together. Their replicates are the sequences, or, with fewer than
  {schema.REPLICATES}, the {schema.REPLICATES} groups of query positions in each. The standard error is that
  of a ratio of sums, `sqrt(R / (R - 1) * sum_r w_r^2 (m_r - mean)^2)`, where `m_r` is the mean of replicate r
  and `w_r` its share of the query-key pairs.
- Numbers are compressed with gzip and shuffle and carry checksums (fletcher32), all of which every HDF5
  library reads. Each group hard-links the coordinates of its arrays.
- Behind HDF5's end stands a seal, the sha256 of everything before it. `open_capture` checks it before HDF5
  reads a byte; a change by other programs loses it, and `ropediag.store.seal.seal_file` seals anew.
"""

_EXAMPLES = """\
## Examples

The captures of this folder are real runs on the bundled held-out text, each made by `ropediag capture` with
the flags beside it. `python captures/make_examples.py` makes all of them anew, the attributions by
`python benchmarks/attribution.py --force`, and the ablations by
`make_ablations.sh`.

"""
_TUNED = "--model studies/models/demo-{}-t128-s0 --len 8192 --sequences {} --rows 8"
EXAMPLES = {  # file: flags, model, what it shows
    "example-8192.h5": (
        "--model demo --len 8192 --sequences 8",
        "the bundled model",
        "breaks just past its training length of 128",
    ),
    "example-tuned-b500-8192.h5": (
        _TUNED.format("b500", 2),
        "base 500",
        "no cliff: the loss rises slowly",
    ),
    "example-tuned-b160000-8192.h5": (
        _TUNED.format("b160000", 2),
        "base 160,000",
        "breaks past the law's limit of 386",
    ),
    "example-tuned-b16000000-8192.h5": (
        _TUNED.format("b16000000", 1),
        "base 16,000,000",
        "breaks past the law's limit of 1,882",
    ),
    "example-kept-2048.h5": (
        "--model demo --len 2048 --rows 8 --keep-qk 1:1 --keep-qk 2:0",
        "the bundled model",
        "queries and keys of two heads at every position: 1:1, which drifts most, and 2:0",
    ),
    "example-65536.h5": (
        "--model demo --len 65536 --rows 8",
        "the bundled model",
        "512 times the training length",
    ),
}
_EXAMPLES_END = """
The bundled model has base 10,000. The others were tuned from it at 128 tokens: `studies/models`.
`example-study-scaling-law.h5` is no capture but the table of a study, a copy of the one in `studies/results`.
"""

_CLOSING = """\
## While a capture runs

`NAME.h5.partial/` grows one file at a time: `header.h5` (coordinates and all that is known at the start),
`layer-SSSS-LLLL.h5` (sequence, layer), `loss-SSSS.h5` (sequence). Each is whole or absent, survives a kill
and a full disk, and ends with a seal of its own. At the end they become `NAME.h5` and the folder is
removed. `ropediag info NAME.h5` says what is still missing, `ropediag capture --resume` goes on.
"""


def describe_format() -> str:
    """Write the whole page, Markdown."""
    tables = [_describe_attributes(), _describe_dimensions(), *_describe_groups()]
    sections = [_OPENING, _describe_examples(), *tables, _CLOSING]
    return "\n".join(sections)


def _describe_examples() -> str:
    rows = ((f"`{file}`", model, shows, f"`{flags}`") for file, (flags, model, shows) in EXAMPLES.items())
    return _EXAMPLES + _table(("file", "model", "what it shows", "flags"), rows) + _EXAMPLES_END


def _describe_attributes() -> str:
    rows = ((f"`{name}`", meaning) for name, meaning in schema.ATTRIBUTES.items())
    return "## Root attributes\n\n" + _table(("attribute", "meaning"), rows)


def _describe_dimensions() -> str:
    rows = ((f"`{d.name}`", f"`{d.dtype}`", d.units, d.long_name) for d in schema.DIMENSIONS)
    return "## Dimensions and their coordinates\n\n" + _table(("name", "type", "unit", "meaning"), rows)


def _describe_groups() -> Iterable[str]:
    for group in dict.fromkeys(variable.group for variable in schema.VARIABLES):
        rows = (
            (
                f"`{variable.name}`",
                f"({', '.join(variable.dims)})",
                f"`{variable.dtype}`",
                variable.units,
                variable.method + (", pooled" if variable.pooled else ""),
                variable.long_name,
            )
            for variable in schema.VARIABLES
            if variable.group == group
        )
        yield f"## /{group}\n\n" + _table(("variable", "axes", "type", "unit", "method", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    print(describe_format(), end="")
