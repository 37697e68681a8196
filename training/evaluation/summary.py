"""What is said of many scored clips: means with their intervals, by SNR and by noise, as JSON and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from training.evaluation import judges, speech_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Row = dict[str, Any]

MEASURES = speech_metrics.MEASURES | judges.MEASURES  # the latter only where their judge is asked


def measures(rows: Sequence[Row]) -> list[str]:
    """The measures that these rows hold, in the order of MEASURES."""
    return [measure for measure in MEASURES if rows and measure in rows[0]]


def _values(rows: Sequence[Row], measure: str) -> NDArray[np.float64]:
    return np.array([row[measure] for row in rows], np.float64)


def _weights(rows: Sequence[Row], measure: str) -> NDArray[np.float64] | None:
    """What a clip counts in the mean of `measure`; None, one as much as another."""
    return _values(rows, judges.WEIGHTS[measure]) if measure in judges.WEIGHTS else None


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Per measure: mean, low, high (95 % bootstrap over clips) and n, the clips for which it is defined."""
    summary = {}
    for measure in measures(rows):
        values = _values(rows, measure)
        mean, low, high = speech_metrics.bootstrap(values, weights=_weights(rows, measure))
        summary[measure] = {"mean": mean, "low": low, "high": high, "n": int(np.sum(~np.isnan(values)))}
    return summary


def group(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by the value of `key`, in order of that value; rows without one are left out."""
    keyed = [row for row in rows if row[key] is not None]
    return {value: [row for row in keyed if row[key] == value] for value in sorted({row[key] for row in keyed})}


def digest(rows: Sequence[Row]) -> dict[str, Any]:
    """What JSON keeps of one method on one set: the summary, by SNR, by noise family, and every clip."""
    return {
        "clips": len(rows),
        "summary": summarise(rows),
        "by_snr": {f"{snr:g}": summarise(some) for snr, some in group(rows, "snr").items()},
        "by_noise": {family: summarise(some) for family, some in group(rows, "family").items()},
        "rows": list(rows),
    }


def cell(measure: str, value: float, signed: bool = False) -> str:
    """A number with the decimals of its measure; a hyphen for NaN."""
    decimals = MEASURES[measure][1]
    if math.isnan(value):
        return "-"
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}"  # + 0.0: no minus before zero


def set_table(title: str, noisy: Sequence[Row], model: Sequence[Row]) -> Table:
    """Measures down; noisy, model and their paired difference across, each with its interval."""
    table = Table(title=title)
    table.add_column("measure")
    for name in ("noisy", "model", "gain"):
        table.add_column(name, justify="right")
    for measure in measures(model):
        label = MEASURES[measure][0]
        before, after = (_values(rows, measure) for rows in (noisy, model))
        weights = _weights(model, measure)
        with np.errstate(invalid="ignore"):  # -inf from -inf: a silent output has no gain to speak of
            gain = after - before
        cells = []
        for values, signed in ((before, False), (after, False), (gain, True)):
            figures = speech_metrics.bootstrap(values, weights=weights)
            mean, low, high = (cell(measure, value, signed) for value in figures)
            cells.append(mean if mean == "-" else f"{mean} [dim]\\[{low}, {high}][/dim]")
        defined = int(np.sum(~np.isnan(after)))
        table.add_row(label if defined == len(after) else f"{label} ({defined} of {len(after)} clips)", *cells)
    return table


def group_tables(title: str, key: str, noisy: Sequence[Row], model: Sequence[Row], width: int) -> Iterator[Table]:
    """Measures down; values of `key` across, noisy → model with half its interval; as many tables as `width` asks for.

    A measure that is undefined everywhere gets no row. Nothing when no row has that key.
    """
    before, after = group(noisy, key), group(model, key)
    fit = max(1, (width - 16) // 22)  # columns: a label, then the cells of a group
    for first in range(0, len(after), fit):
        some = list(after)[first : first + fit]
        table = Table(title=f"{title}: noisy → model ± half the interval")
        table.add_column("measure")
        for value in some:
            head = f"{value:g} dB" if key == "snr" else value
            table.add_column(f"{head}, {len(after[value])} clip{'s' * (len(after[value]) > 1)}", justify="right")
        for measure in measures(model):
            if any(not math.isnan(row[measure]) for rows in after.values() for row in rows):
                cells = [_change(measure, before[value], after[value]) for value in some]
                table.add_row(MEASURES[measure][0], *cells)
        yield table


def _change(measure: str, noisy: Sequence[Row], model: Sequence[Row]) -> str:
    (old, *_), (mean, low, high) = (
        speech_metrics.bootstrap(_values(rows, measure), weights=_weights(rows, measure)) for rows in (noisy, model)
    )
    half = f" [dim]±{cell(measure, (high - low) / 2)}[/dim]" if high > low else ""
    return f"{cell(measure, old)} → {cell(measure, mean)}{half}"
