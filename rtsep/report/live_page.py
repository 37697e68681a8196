"""The latency report as lines of text, and as one HTML file that opens without a network: pictures are inside."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np

from rtsep.errors import RtsepError
from rtsep.report.text import machine_lines

_PARTS = {
    "stream": "stream: synthesis window - hop + look-ahead",
    "slack": "slack x block: the worker's time",
    "portaudio": "PortAudio",
    "server": "device in and out: the server's own loop",
    "device": "device out, cable, device in",
}
_COLOURS = {"stream": "#2a6f97", "slack": "#e09f3e", "portaudio": "#9e2a2b", "server": "#8d99ae", "device": "#8d99ae"}
_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}img{max-width:100%}h1{font-size:1.5rem}h2{font-size:1.15rem}
.big{font-size:1.2rem}.quiet{color:#666}"""


def live_lines(result: dict[str, Any]) -> list[str]:
    """What `bench live` prints."""
    budget, server = result["budget"], result["server"]
    lines = [
        f"{result['model']['name']} {result['model']['version']} on {server['kind']}, {server['rate']} Hz, "
        f"{server['period']} frames, slack {result['slack']}",
        "",
        f"round trip, probed  {budget['round_trip_samples']:5d} samples = {budget['round_trip_ms']:6.3f} ms",
    ]
    for name, samples in budget["parts_samples"].items():
        lines.append(f"  {_PARTS[name]:<46}{samples:5d} = {budget['parts_ms'][name]:6.3f} ms")
    lines += [
        f"added over an empty pass-through: {budget['added_samples']} samples = {budget['added_ms']:.3f} ms",
        "",
        "load                      lost      late  xruns  gap p50/p99/max ms        compute p50/p99/max ms    "
        "empty callback's gap p99/max ms",
    ]
    for entry in result["loads"]:
        gap, compute, empty = entry["gap_ms"], entry["compute_ms"], _empty_gap(entry)
        lines.append(
            f"{entry['load']:<24}{100 * entry['lost_share']:5.2f} %  {100 * entry['late_share']:5.2f} %  "
            f"{entry['xruns']:5d}  {gap['p50']:6.2f} {gap['p99']:7.2f} {gap['max']:7.2f}   "
            f"{compute['p50']:6.2f} {compute['p99']:7.2f} {compute['max']:7.2f}   "
            f"{empty[0]:>7} {empty[1]:>7}"
        )
    return [*lines, "", *machine_lines(result["machine"])]


def check_pictures() -> None:
    """Raises RtsepError where the pictures cannot be drawn: to be asked before anything is measured."""
    try:
        import matplotlib
    except ImportError:
        raise RtsepError("The report's pictures need matplotlib; install it with: pip install matplotlib.") from None
    matplotlib.use("Agg")


def live_page(result: dict[str, Any]) -> str:
    """The report as HTML. Raises RtsepError without matplotlib."""
    check_pictures()
    budget, server = result["budget"], result["server"]
    title = f"rtsep {result['model']['name']} {result['model']['version']}: latency, measured"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=big>Round trip <b>{budget['round_trip_ms']:.2f} ms</b>, of which rtsep adds "
        f"<b>{budget['added_ms']:.2f} ms</b> to an empty pass-through.</p>",
        f"<p class=quiet>{html.escape(server['kind'])}, {server['rate']} Hz, {server['period']} frames a block, slack "
        f"{result['slack']}. {_how(budget)}</p>",
        _picture(_draw_budget(result), "what the round trip is made of"),
        _table(
            ("part", "samples", "ms"),
            [
                *((_PARTS[k], v, f"{budget['parts_ms'][k]:.3f}") for k, v in budget["parts_samples"].items()),
                ("round trip", budget["round_trip_samples"], f"{budget['round_trip_ms']:.3f}"),
            ],
        ),
        "<h2>Under load</h2>",
        "<p>Late: the result was not there and the delayed dry signal played. Lost: late, or touched by the join after "
        "a late block. The empty callback ran beside it at the same time: what it shows is the machine's doing.</p>",
        _table(
            (
                *("load", "blocks", "lost", "late", "xruns", "gap p50", "p99", "max ms"),
                *("compute p50", "p99", "max ms", "empty gap p99", "max ms"),
            ),
            [_row(entry) for entry in result["loads"]],
        ),
        _picture(_draw_histograms(result), "histograms of callback gaps and compute"),
        _picture(_draw_timeline(result), "callback gaps and compute over time"),
        "<p class=quiet>" + "<br>".join(html.escape(text) for text in machine_lines(result["machine"])) + "</p>",
    ]
    head = f"<meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _how(budget: dict[str, Any]) -> str:
    samples = budget["round_trip_samples"]
    if "device" in budget["parts_samples"]:
        return (
            f"A ping of noise was played, came back through the cable and was played again after {samples} samples: "
            "the median of a few. The parts are where it was found on its way, and what was left without the stream."
        )
    return (
        "The probe is noise that another process plays; but for lost blocks it came out bit for bit after "
        f"{samples} samples. The parts were probed by taking one more away each time."
    )


def _row(entry: dict[str, Any]) -> tuple[Any, ...]:
    gap, compute, empty = entry["gap_ms"], entry["compute_ms"], _empty_gap(entry)
    figures = (gap["p50"], gap["p99"], gap["max"], compute["p50"], compute["p99"], compute["max"])
    return (
        *(
            entry["load"],
            entry["callbacks"],
            f"{100 * entry['lost_share']:.2f} %",
            f"{100 * entry['late_share']:.2f} %",
        ),
        *(entry["xruns"], *(f"{value:.2f}" for value in figures), *empty),
    )


def _empty_gap(entry: dict[str, Any]) -> tuple[str, str]:
    """p99 and max of the empty callback's gaps, where one ran beside."""
    empty = entry["empty_callback"]
    return ("-", "-") if empty is None else (f"{empty['gap_ms']['p99']:.2f}", f"{empty['gap_ms']['max']:.2f}")


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    def cells(kind: str, values: Any) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(str(value))}</{kind}>" for value in values) + "</tr>"

    return "<table>" + cells("th", heads) + "".join(cells("td", row) for row in rows) + "</table>"


def _picture(figure: Any, words: str) -> str:
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<p><img alt="{html.escape(words)}" src="data:image/png;base64,{data}"></p>'


def _draw_budget(result: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.8))
    left = 0.0
    for name, width in result["budget"]["parts_ms"].items():
        if width:
            axes.barh([0], [width], left=left, color=_COLOURS[name], label=f"{_PARTS[name]}: {width:.2f} ms")
        left += width
    axes.set_yticks([])
    axes.set_xlabel("ms")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.45), ncol=2, frameon=False)
    return figure


def _draw_histograms(result: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    loads = result["loads"]
    figure, rows = plt.subplots(len(loads), 1, figsize=(9, 2.1 * len(loads)), sharex=True, squeeze=False)
    for axes, entry in zip(rows[:, 0], loads, strict=True):
        edges = np.array(entry["histogram"]["edges_ms"])
        for key, colour, label in (
            ("empty_gap", "#8d99ae", "gap, empty callback"),
            ("gap", "#2a6f97", "gap, rtsep"),
            ("compute", "#e09f3e", "compute"),
        ):
            axes.stairs(entry["histogram"][key], edges, color=colour, label=label, fill=key == "empty_gap", alpha=0.9)
        axes.axvline(entry["block_ms"] * max(1, result["slack"]), color="#9e2a2b", ls=":", label="budget")
        axes.set_xscale("log")
        axes.set_yscale("symlog")
        axes.set_ylabel("blocks")
        axes.set_title(entry["load"], loc="left", fontsize=10)
    rows[0, 0].legend(frameon=False, fontsize=8)
    rows[-1, 0].set_xlabel("ms")
    figure.tight_layout()
    return figure


def _draw_timeline(result: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    loads = result["loads"]
    figure, rows = plt.subplots(len(loads), 1, figsize=(9, 1.9 * len(loads)), squeeze=False)
    for axes, entry in zip(rows[:, 0], loads, strict=True):
        line = entry["timeline"]
        seconds, late = np.array(line["seconds"]), np.array(line["late"])
        axes.plot(seconds, line["gap_ms"], color="#2a6f97", lw=0.8, label="worst gap")
        axes.plot(seconds, line["compute_ms"], color="#e09f3e", lw=0.8, label="worst compute")
        axes.plot(seconds[late > 0], np.array(line["gap_ms"])[late > 0], "x", color="#9e2a2b", ms=5, label="late block")
        axes.set_yscale("log")
        axes.set_ylim(0.05, max(50.0, 2 * max(line["gap_ms"]), 2 * max(line["compute_ms"])))
        axes.set_ylabel("ms")
        axes.set_title(entry["load"], loc="left", fontsize=10)
    rows[0, 0].legend(frameon=False, fontsize=8, ncol=3)
    rows[-1, 0].set_xlabel("s")
    figure.tight_layout()
    return figure
