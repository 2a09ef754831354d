"""Numbers of docs/attribution.md are those of the committed results."""

import json

import pytest

from tests.test_trained_reach_page import ROOT, read_rows

PAGE = (ROOT / "docs" / "attribution.md").read_text(encoding="utf-8")
NAMES = {
    "demo": "untuned",
    "b160000": "tuned to base 160,000",
    "b16000000": "tuned to base 16,000,000",
    "b500": "tuned to base 500",
    "yarn4": "under YaRN 4, untrained",
    "ntk4": "under NTK 4, untrained",
    "grouped queries": "grouped queries, random",
    "latent attention": "latent attention, random",
}
COSTS, DRIFTS = 0.005, 1.5  # what is listed: nats, standard deviations


def three(row, *names):
    value, low, high = (f"{float(row[name]):.3f}" for name in names)
    return f"{value} ({low} to {high})"


def write_models(rows):
    """The lines of the table by model."""
    return [
        f"| {NAMES[row['model']]} | {int(row['length']):,} | {float(row['excess']):.3f} | "
        f"{float(row['difference']):.3f} | {float(row['total']):.3f} | {row['points']} | "
        f"{float(row['other']):.3f} | {row['worst_pair']} | {100 * float(row['first_keys_share']):.0f} % |"
        for row in rows
    ]


def write_pairs(rows):
    """The lines of the table by pair."""
    lines = []
    for row in rows:
        drift = float(row["drift"] or "nan")
        if row["drift"] and (abs(float(row["nats"])) >= COSTS or drift >= DRIFTS):
            shown = f"{drift:.1f}" if drift == drift else "not tested"
            lines.append(
                f"| {NAMES[row['model']]} | {row['pair']} | {float(row['nats']):.3f} | "
                f"{float(row['low']):.3f} to {float(row['high']):.3f} | {shown} |"
            )
    return lines


def write_single(rows):
    """The lines of the table against interventions."""
    return [
        f"| {row['layer']}, {row['query_head']}, {row['pair']} | {three(row, 'nats', 'low', 'high')} | "
        f"{three(row, 'repair', 'repair_low', 'repair_high')} | "
        f"{three(row, 'damage', 'damage_low', 'damage_high')} |"
        for row in rows
    ]


def write_nodes(rows):
    """The lines of the table next to attribution patching."""
    return [
        f"| {row['layer']}, {row['query_head']} | {float(row['part']):.3f} | {float(row['node']):.3f} |"
        for row in rows
    ]


def write_costs(rows):
    """The lines of the table of one point over a plain pass."""
    return [
        f"| {int(row['length']):,} | {float(row['plain_seconds']):.2f} s | "
        f"{float(row['point_seconds']):.2f} s | {float(row['ratio']):.1f} |"
        for row in rows
    ]


def write_real(found, heads):
    """What the page says of a released model, sentence by sentence, and its tables."""
    pairs = {int(pair): nats for pair, nats in found["by_pair"].items() if abs(nats) >= COSTS}
    layers = {int(layer): nats for layer, nats in found["by_layer"].items()}
    largest = sorted(layers, key=layers.get, reverse=True)[:5]
    return [
        f"| one sequence of {found['length']:,} tokens | {found['excess']:.3f} | {found['difference']:.3f} | "
        f"{found['total']:.3f} | {found['points']} | {found['other']:.3f} | "
        f"{100 * found['first_keys_share']:.0f} % |",
        *(f"| {pair} | {nats:.3f} |" for pair, nats in sorted(pairs.items())),
        *(f"| {layer} | {layers[layer]:.3f} |" for layer in largest),
        *(f"| {row['layer']}, {row['query_head']} | {float(row['nats']):.3f} |" for row in heads[:8]),
        f"{found['seconds'] / 60:.0f} minutes",
        f"{found['processor_seconds'] / 60:.0f} of the processor",
        f"{found['peak_gib']:.1f} GiB",
        f"a plain pass takes {found['plain_seconds'] / 60:.1f}",
    ]


LINES = [
    *write_models(read_rows("attribution.csv")),
    *write_pairs(read_rows("attribution_pairs.csv")),
    *write_single(read_rows("attribution_single.csv")),
    *write_nodes(read_rows("attribution_nodes.csv")),
    *write_costs(read_rows("attribution_cost.csv")),
    *write_real(
        json.loads((ROOT / "benchmarks" / "results" / "attribution_real.json").read_text(encoding="utf-8")),
        read_rows("attribution_real_heads.csv"),
    ),
]


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_that_of_the_results(line):
    assert line in PAGE


def test_the_parts_add_up():
    """The sum meets the difference within 2 %; parts hardly moved in the end, unless points ran out."""
    for row in read_rows("attribution.csv"):
        allowed = max(0.02 * abs(float(row["difference"])), 1e-3)
        assert abs(float(row["missed"])) <= allowed, row["model"]
        assert float(row["largest_change"]) <= 2.5 * allowed or row["points"] == "65", row["model"]


def test_parts_lie_between_their_interventions():
    rows = read_rows("attribution_single.csv")
    outside = [f"{row['layer']}, {row['query_head']}, {row['pair']}" for row in rows if row["within"] == "0"]
    said = PAGE[PAGE.index("## Against interventions") : PAGE.index("## A planted truth")]
    assert all(name in said for name in outside)
    assert f"{len(rows) - len(outside)} of {len(rows)}" in said
