"""The tables of time: of a step, a stream, many streams, files, starting, and live sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import markdown as committed
from benchmarks.markdown import markdown, results


def speed() -> str:
    """Time of one call and CPU of a second of audio, beside the peers; then offline files."""
    found = results("throughput")
    rows = []
    for entry in found["streams"]:
        times = [f"{entry[key]:.3f}" for key in ("frame_ms", "p50_ms", "p99_ms")]
        shares = [f"{100 * entry['median_share']:.1f} %", f"{100 * entry['p99_share']:.1f} %"]
        rows.append([entry["name"], *times, *shares, f"{entry['cpu_per_s']:.4f}"])
    header = ["one thread", "frame ms", "median ms", "p99 ms", "median of frame", "p99 of frame", "CPU s a second"]
    offline = found["offline"]
    return (
        markdown(header, rows)
        + f"\nFiles: {offline['times_real_time']:.0f} times real time on one core. "
        + f"Measured on {found['processor']}, {found['cores']} cores.\n"
    )


def limit() -> str:
    """The compiled step beside its bare products and onnxruntime, and the cost of each method, in one run."""
    found = results("limit")

    def told(value: dict[str, float], unit: str = "") -> str:
        return f"{value['median']:.2f}{unit} ({value['least']:.2f} to {value['most']:.2f})"

    ratios = list(found["models"][0]["ratios"])
    rows = [
        [f"{entry['model']['name']} {entry['model']['version']}", *(told(entry["ratios"][ratio]) for ratio in ratios)]
        for entry in found["models"]
    ]
    cost = [
        [entry["name"], told({key: 100 * share for key, share in entry["share_of_core"].items()}, " %")]
        for entry in sorted(found["peers"], key=lambda entry: entry["share_of_core"]["median"])
    ]
    return (
        markdown([f"median of {found['repeats']} (least to most)", *ratios], rows)
        + "\n"
        + markdown(["hop by hop, one thread", "of one core"], cost)
    )


def streams() -> str:
    """How many streams one core serves by one engine."""
    from benchmarks.streams import COLUMNS, cells

    found = results("streams")
    rows = [[f"{entry['model']['name']} {entry['model']['version']}", *cells(entry)] for entry in found["models"]]
    told = f"\nMeasured on {found['processor']} at a load average of {found['load']:.0f} on {found['cores']} cores.\n"
    return markdown([f"one core, median of {found['repeats']} (least to most)", *COLUMNS], rows) + told


def serve() -> str:
    """How long a server takes to answer so many clients at once, beside one that sends back what it gets."""
    rows = []
    for found in _of_each_model("serve_load"):
        for entry in found["loads"]:
            cells = [
                f"{entry[key]['median']:.2f} ({entry[key]['least']:.2f} to {entry[key]['most']:.2f})"
                for key in ("added p50 ms", "added p99 ms", "rtsep core", "echo core")
            ]
            rows.append([f"{found['model']['name']} {found['model']['version']}", str(entry["connections"]), *cells])
    header = ["added p50, ms", "added p99, ms", "rtsep, of a core", "sending back, of a core"]
    return markdown([f"median of {found['repeats']} (least to most)", "clients", *header], rows) + _measured_on(found)


def files() -> str:
    """How fast files go by each backend."""
    found = results("files")
    rows = []
    for entry in found["models"]:
        values = (*entry["times_real_time"].values(), entry["compiled / onnxruntime"])
        cells = [f"{value['median']:.1f} ({value['least']:.1f} to {value['most']:.1f})" for value in values]
        rows.append([f"{entry['model']['name']} {entry['model']['version']}", *cells])
    header = [*found["models"][0]["times_real_time"], "compiled / onnxruntime"]
    return markdown([f"times real time, median of {found['repeats']}", *header], rows) + _measured_on(found)


def batch() -> str:
    """Small files, workers, and memory."""
    found = results("files_batch")
    rows = []
    for entry in found["models"]:
        values = [entry[key] for key in ("small / long", "times as fast", "cpu of several / of one")]
        cells = [f"{value['median']:.2f} ({value['least']:.2f} to {value['most']:.2f})" for value in values]
        cells[1] = _by_the_clock(cells[1], found)
        memory = " / ".join(f"{value:.0f}" for value in entry["memory MB"].values())
        rows.append([f"{entry['model']['name']} {entry['model']['version']}", *cells, memory])
    count = found["models"][0]["workers"]
    header = [
        f"median of {found['repeats']}",
        f"{found['small']} files of 1 s / one file, CPU",
        f"{count} workers / one, speed",
        f"{count} workers / one, CPU",
        f"MB for a file of {' / '.join(found['models'][0]['memory MB'])}",
    ]
    return markdown(header, rows) + _measured_on(found)


def start() -> str:
    """How soon something happens."""
    found = results("start")
    machine, rows = found["environment"], []
    for name, values in found["runs"].items():
        memory = f"{values['memory']['median']:.0f}" if "memory" in values else ""
        cpu, wall = (
            f"{one['median']:.2f} ({one['least']:.2f} to {one['most']:.2f})"
            for one in (values["cpu_s"], values["wall_s"])
        )
        rows.append([name, cpu, _by_the_clock(wall, machine), memory])
    header = [f"median of {found['repeats']}", "CPU s", "wall clock s", "worker, MB"]
    return markdown(header, rows) + _measured_on(machine)


def latency() -> str:
    """What the probe of `rtsep bench step` measured."""
    step = results("step")
    rate, found = step["sample_rate"], step["latency"]
    rows = [
        [label, str(found[key]), f"{1000 * found[key] / rate:.2f}"]
        for label, key in (
            ("algorithmic latency", "algorithmic_samples"),
            ("`Stream.process`, blocks of any size", "stream_samples"),
            ("`Stream.process`, blocks of whole hops", "whole_hops_samples"),
        )
    ]
    return markdown([f"measured at {rate} Hz", "samples", "ms"], rows)


def live() -> str:
    """What `rtsep bench live` measured: the round trip, its parts, and blocks lost under four loads."""
    found = results("live")
    slack = f"slack, {found['slack']} blocks" if found["slack"] else "slack: none, inside the callback"
    parts, names = found["budget"]["parts_ms"], {"stream": "stream", "slack": slack}
    rows = [[names.get(name, name), f"{ms:.2f}"] for name, ms in parts.items()]
    rows.append(["**round trip**", f"**{found['budget']['round_trip_ms']:.2f}**"])
    rows.append(["of it added by rtsep", f"{found['budget']['added_ms']:.2f}"])
    loads = [
        [
            entry["load"],
            f"{100 * entry['lost_share']:.2f} %",
            f"{entry['compute_ms']['p99']:.2f}",
            *(
                f"{gaps['p99']:.2f} / {gaps['max']:.2f}"
                for gaps in (entry["gap_ms"], entry["empty_callback"]["gap_ms"])
            ),
        ]
        for entry in found["loads"]
    ]
    period, rate = found["server"]["period"], found["server"]["rate"]
    header = [f"{found['loads'][0]['seconds']:.0f} s each", "blocks lost", "compute p99 ms", "gap p99 / max ms"]
    return (
        markdown([f"JACK, {period} frames at {rate} Hz", "ms"], rows)
        + "\n"
        + markdown([*header, "empty callback's gap p99 / max ms"], loads)
    )


def slack() -> str:
    """What rtsep adds to the delay by slack and block, as `benchmarks.slack_delay` probed it."""
    found = results("slack_delay")
    rate = found["server"]["rate"]
    header = ["frames a block", *(f"slack {blocks}, ms" for blocks in found["slacks"])]
    cells = [[f"{row['period']}", *(f"{1000 * n / rate:.2f}" for n in row["added samples"])] for row in found["rows"]]
    return markdown(header, cells)


def soak() -> str:
    """Half an hour in real time, by what `benchmarks.soak` printed once a minute, of each model."""
    parts, cells = [], []
    for found in _of_each_model("soak"):
        rows, first = found["rows"], found["rows"][0]
        for row in [row for row in rows if row["seconds"] % 600 < 60 and row["seconds"] >= 600]:
            cells.append(
                [
                    f"{found['model']['name']} {found['model']['version']}",
                    f"{row['seconds'] / 60:.0f}",
                    f"{row['callbacks']}",
                    f"{row['late']} ({100 * row['late'] / row['callbacks']:.3f} %)",
                    f"{row['xruns']}",
                    f"{row['compute p99 ms']:.2f}",
                    f"{row['memory MB'] - first['memory MB']:+.1f}",
                ]
            )
        parts.append(_with(found))
    header = ["", "minutes", "blocks", "late", "xruns of the server", "compute p99 ms", "memory since minute 1, MB"]
    return markdown(header, cells) + "".join(dict.fromkeys(parts))


def freewheel() -> str:
    """Minutes of speech as fast as they go, every sample held against the offline result, of each model."""
    parts, cells = [], []
    for found in _of_each_model("freewheel"):
        rows, first = found["rows"], found["rows"][0]
        most = max(abs(row["memory MB"] - first["memory MB"]) for row in rows)
        cells.append(
            [
                f"{found['model']['name']} {found['model']['version']}",
                f"{sum(row['speech samples'] for row in rows) / found['server']['rate'] / 60:.0f}",
                f"{sum(row['samples'] for row in rows)}",
                f"{sum(row['differing'] for row in rows)}",
                f"{most:.1f}",
            ]
        )
        parts.append(_with(found))
    header = ["free-wheeling", "minutes of speech", "samples compared", "samples that differ", "memory within, MB"]
    return markdown(header, cells) + "".join(dict.fromkeys(parts))


def _of_each_model(name: str) -> list[dict[str, Any]]:
    """The results of a benchmark that was run with one model after the other: `name`.json, then `name`-MODEL.json."""
    return [
        results(file.stem)
        for file in (committed.RESULTS / f"{name}.json", *sorted(committed.RESULTS.glob(f"{name}-*.json")))
    ]


def _with(found: dict[str, Any]) -> str:
    """The server, and what else the machine was doing."""
    server, beside = found["server"], found["beside"]
    load = [f"{beside[key]:.0f}" for key in ("load average before", "load average after")]
    return (
        f"\nJACK, {server['period']} frames at {server['rate']} Hz, slack {server['slack']}; "
        f"beside it {beside['what']} (load average {' to '.join(load)} on {found['environment']['cores']} cores).\n"
    )


def _by_the_clock(text: str, machine: dict[str, Any]) -> str:
    """A figure by the wall clock, or, where most of that went to other programs, none."""
    return text if machine["load"] <= 2 * machine["cores"] else "machine busy"


def _measured_on(machine: dict[str, Any]) -> str:
    load, cores = machine["load"], machine["cores"]
    return f"\nMeasured on {machine['processor']} at a load average of {load:.0f} on {cores} cores.\n"


SPEED_TABLES: dict[str, Callable[..., str]] = {
    each.__name__: each
    for each in (speed, limit, streams, serve, files, batch, start, latency, live, slack, soak, freewheel)
}
