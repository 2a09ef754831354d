"""Tables and curves of ablations: the figures of the files, and what is refused in a stranger's."""

import json
from pathlib import Path

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repairs import measure_repairs
from ropediag.errors import ConfigError, FormatError
from ropediag.store import write_whole
from tests.analysis.captures import EXAMPLE
from tests.store.synthetic import make_attributes

ABLATIONS = sorted(EXAMPLE.parent.glob("example-ablation-*.h5"))
TRAINED, LENGTH = 16, 64


def make_figures(**changes):
    estimate = {"value": 0.5, "low": 0.25, "high": 0.75, "count": 2}
    repair = {"damage": estimate, "repaired": estimate, "repaired_tail": estimate, "above_random": None}
    figures = {
        "model": "toy", "length": LENGTH, "sequences": 2, "train_len": TRAINED, "tune_len": 0,
        "kind": "clip", "limit": 15, "factor": None, "new_base": None, "chosen": [1, 2, 3, 7],
        "pairs": [{"layers": [0], "heads": [0], "pairs": [1, 2, 3, 7]}],
        "repairs": [
            {"multiple": 2.0, "random": [], **repair}, {"multiple": 4.0, "random": [0.1, 0.4], **repair},
        ],
    }  # fmt: skip
    return figures | changes


def write_ablation(path: Path, figures, kind="ablation"):
    random = np.random.default_rng(0)
    text = figures if isinstance(figures, str) else json.dumps(figures)
    coordinates = {
        name: np.arange(size) for name, size in (("run", 3), ("sequence", 2), ("position", LENGTH))
    }
    arrays = {
        "loss/nll": random.gamma(2.0, size=(2, LENGTH)),
        "loss/nll_windowed": random.gamma(2.0, size=(2, LENGTH)),
        "ablation/nll": random.gamma(2.0, size=(3, 2, LENGTH)),
    }
    attributes = make_attributes(kind=kind, length=LENGTH) | ({} if figures is None else {"figures": text})
    return write_whole(path, coordinates, {name: a.astype("f4") for name, a in arrays.items()}, attributes)


@pytest.fixture(scope="module")
def shipped():
    opened = {path.name: open_capture(path) for path in ABLATIONS}
    yield opened
    for file in opened.values():
        file.close()


def test_the_table_holds_the_figures_of_every_file(shipped):
    table = measure_repairs(shipped)
    assert sorted(table.ablation.values.tolist()) == sorted(shipped)
    for name, file in shipped.items():
        repairs = json.loads(file.attrs["figures"])["repairs"]
        for repair in repairs:
            if repair.get("at") != repairs[0].get("at"):  # another point of a curve over the reach
                continue
            row = table.sel(ablation=name, multiple=repair["multiple"])
            for variable in ("damage", "repaired", "repaired_tail", "above_random"):
                for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
                    expected = repair[variable][key] if repair[variable] else np.nan
                    np.testing.assert_equal(float(row[f"{variable}{end}"]), expected)
            assert row.random.values[: len(repair["random"])].tolist() == repair["random"]
            mean = np.mean(repair["random"]) if repair["random"] else np.nan
            np.testing.assert_allclose(float(row.random_mean), mean)


def test_what_repairs_most_at_the_end_comes_first(shipped):
    shares = measure_repairs(shipped).repaired.isel(multiple=-1).values
    assert (np.diff(shares) <= 0).all()


def test_interventions_and_pairs_are_named_in_words(shipped):
    table = measure_repairs(shipped)
    words = zip(table.change.values.tolist(), table.pairs.values.tolist(), strict=True)
    named = dict(zip(table.ablation.values.tolist(), words, strict=True))
    assert named["example-ablation-clip-past.h5"] == (
        "lag clipped at 127",
        "pairs 11 to 31, past the critical one",
    )
    assert named["example-ablation-clip-12-15.h5"] == ("lag clipped at 127", "pairs 12 to 15")
    assert named["example-ablation-log.h5"] == ("logits scaled by log of the position", "all pairs")


def test_every_variable_has_units_and_a_meaning(shipped):
    for name, array in measure_repairs(shipped).data_vars.items():
        assert array.attrs["units"], name
        assert len(array.attrs["long_name"]) > 4, name


def test_files_of_different_multiples_and_random_sets_share_a_table(tmp_path):
    short = make_figures(repairs=make_figures()["repairs"][:1])
    paths = {
        "a": write_ablation(tmp_path / "a.h5", make_figures()),
        "b": write_ablation(tmp_path / "b.h5", short),
    }
    with open_capture(paths["a"]) as one, open_capture(paths["b"]) as other:
        table = measure_repairs({"a": one, "b": other})
    assert table.multiple.values.tolist() == [2.0, 4.0]
    assert np.isnan(float(table.repaired.sel(ablation="b", multiple=4.0)))
    assert table.random.sel(ablation="a", multiple=4.0).values.tolist() == [0.1, 0.4]
    assert table.random.sel(multiple=2.0).isnull().all()
    assert table.pairs.sel(ablation="a").item() == "pairs 1 to 3, 7"


def test_curves_are_means_over_sequences_and_stretches(tmp_path):
    with open_capture(write_ablation(tmp_path / "a.h5", make_figures())) as file:
        curves = measure_repair_curves(file)
        losses = {name: file.values(f"loss/{name}") for name in ("nll", "nll_windowed")}
        changed = file.values("ablation/nll")
    losses |= {"nll_changed": changed[0], "nll_random": (changed[1] + changed[2]) / 2}
    assert curves.sizes["position"] > 4
    for name, values in losses.items():
        for centre in curves.position.values:
            half = max(16, round(0.09 * centre))
            stretch = [
                values[sequence, at] for sequence in range(2) for at in range(centre - half, centre + half)
            ]
            assert float(curves[name].sel(position=centre)) == pytest.approx(np.mean(stretch), rel=1e-5)


MALFORMED = {
    "no JSON": "{",
    "nothing": "null",
    "a number": "3",
    "deep": "[" * 100_000,
    "no repairs": make_figures(repairs=[]),
    "repairs of another type": make_figures(repairs={"multiple": 2}),
    "a multiple of 1": make_figures(repairs=[make_figures()["repairs"][0] | {"multiple": 1.0}]),
    "an estimate that is text": make_figures(repairs=[make_figures()["repairs"][0] | {"repaired": "all"}]),
    "a value that is true": make_figures(repairs=[make_figures()["repairs"][0] | {"random": [True]}]),
    "a length that is negative": make_figures(length=-1),
    "a kind that is markup": make_figures(kind="<b>clip</b>"),
    "a choice that is markup": make_figures(chosen="<script>"),
    "a model that is no text": make_figures(model=["demo"]),
    "a pair that is text": make_figures(pairs=[{"pairs": ["1"]}]),
    "a clip without limit": make_figures(limit="12"),
    "a number beyond all floats": make_figures(limit=10**400),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_figures_are_refused_by_the_name_of_the_file(tmp_path, case):
    with open_capture(write_ablation(tmp_path / "strange.h5", MALFORMED[case])) as file:
        for measure in (lambda: measure_repairs({"strange": file}), lambda: measure_repair_curves(file)):
            with pytest.raises(FormatError, match=r"strange\.h5: the figures of the ablation cannot be used"):
                measure()


@pytest.mark.parametrize("key", sorted(make_figures()))
def test_a_figure_that_is_missing_is_named(tmp_path, key):
    figures = make_figures()
    figures.pop(key)
    path = write_ablation(tmp_path / "strange.h5", figures)
    with open_capture(path) as file, pytest.raises(FormatError, match=f"no '{key}'"):
        measure_repairs({"strange": file})


def test_a_file_without_figures_and_a_file_of_another_kind_are_refused(tmp_path):
    path = write_ablation(tmp_path / "bare.h5", None)
    with open_capture(path) as file, pytest.raises(FormatError, match="no 'figures'"):
        measure_repairs({"bare": file})
    with open_capture(EXAMPLE) as file, pytest.raises(ConfigError, match="is no ablation but: capture"):
        measure_repairs({"example": file})
    with pytest.raises(ConfigError, match="no ablation"):
        measure_repairs({})
