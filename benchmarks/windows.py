"""The window curve: what the synthesis window, and with it the latency, is worth, from the runs of the ablation.

    python -m benchmarks.windows [--hours H]

Draws docs/assets/windows.svg and writes benchmarks/results/windows.json: quality and cost against the window in ms, a
small net of one shape, one budget of audio a point. Cost is of the same net at more or fewer hops a second.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "report")

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.ablation import HOURS, RESULTS, SEEDS, TABLES, costs, plan, recorded, shape
from rtsep.errors import InputError
from training.evaluation.evaluate import write_json
from training.one_sentence import one_sentence

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "windows.svg"
CURVE = TABLES["Synthesis window, ms"]  # label -> cell
PANELS = {
    "pesq_wb": "PESQ-WB",
    "estoi": "ESTOI",
    "si_sdr": "SI-SDR, dB",
    "macs_per_s": "multiply-adds a second, G",
    "cpu_s_per_s": "CPU seconds a second",
}


def points(seeds: int, hours: float, results: Path = RESULTS) -> list[dict[str, Any]]:
    """One entry a run of the curve, in order of the window: `window_ms`, `seed`, the scores, and the cost if known."""
    runs, known = plan(seeds, hours), costs(results)
    found = []
    for cell in CURVE.values():
        for run in (run for run in runs if run.cell == cell):
            if (result := recorded(run, results)) is not None:
                scores = {name: result["scores"][name]["mean"] for name in ("pesq_wb", "estoi", "si_sdr")}
                hop = run.recipe.network.hop / run.recipe.network.sample_rate
                found.append(
                    {"window_ms": round(2000 * hop, 3), "seed": run.seed, **scores, **known.get(shape(run.recipe), {})}
                )
    return sorted(found, key=lambda point: (point["window_ms"], point["seed"]))


def draw(found: list[dict[str, Any]], hours: float, file: Path) -> None:
    """A panel a measure, a dot a run, a line through the means; the same results give the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rtsep"
    from matplotlib import pyplot

    windows = sorted({point["window_ms"] for point in found})
    panels = {name: title for name, title in PANELS.items() if all(name in point for point in found)}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3 * len(panels), 3.2), layout="constrained")
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        scale = 1e9 if name == "macs_per_s" else 1.0
        axis.plot([point["window_ms"] for point in found], [point[name] / scale for point in found], "o", alpha=0.5)
        values = [[point[name] / scale for point in found if point["window_ms"] == window] for window in windows]
        axis.plot(windows, [sum(each) / len(each) for each in values], color="C0")
        axis.set(xscale="log", xlabel="synthesis window, ms", title=title)
        axis.set_xticks(windows, [f"{window:.3g}" for window in windows], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    figure.suptitle(f"Small net, {hours:g} h of audio a run, {len(found)} runs, valid pairs")
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main(
    hours: Annotated[float, typer.Option(min=0.001, help="The budget of the runs that are drawn.")] = HOURS,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds a point, at most.")] = SEEDS,
    results: Annotated[Path, typer.Option(help="Folder of the ablation's results.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Folder for windows.json.")] = RESULTS.parent,
    picture: Annotated[Path, typer.Option(help="Where the curve goes.")] = PICTURE,
) -> None:
    """Draw the window curve from what has been run."""
    with one_sentence():
        found = points(seeds, hours, results)
        if not found:
            raise InputError(f"No run of the window curve at {hours:g} h yet: python -m benchmarks.ablation --run.")
        draw(found, hours, picture)
        write_json(out / "windows.json", {"format": 1, "budget_hours": hours, "points": found})
        print(f"{len(found)} runs drawn in {(out / 'windows.svg').name}.")


if __name__ == "__main__":
    typer.run(main)
