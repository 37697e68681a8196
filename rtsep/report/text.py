"""Measurements as lines of text."""

from __future__ import annotations

from typing import Any


def step_lines(result: dict[str, Any]) -> list[str]:
    """What `bench step` prints, from measure_step's values."""
    latency, compute, cold, rate = result["latency"], result["compute"], result["cold_start"], result["sample_rate"]
    lines = [
        f"{result['model']['name']} {result['model']['version']} at {rate} Hz, hop {result['hop']} samples",
        "",
        "latency, measured by a probe through the stream",
        f"  any block size       {_samples(latency['stream_samples'], rate)}",
        f"  blocks of whole hops {_samples(latency['whole_hops_samples'], rate)}",
        f"  algorithmic          {_samples(latency['algorithmic_samples'], rate)}  (any block size + 1)",
        f"  the stream promises  {_samples(latency['promised_samples'], rate)}; "
        f"its output depends on {latency['reach_samples']} samples to come",
        "",
        f"compute per hop of {compute['hop_us']:.0f} us, one thread, {compute['hops']} hops",
    ]
    for name, value in compute["microseconds"].items():
        lines.append(f"  {name:<6} {value:8.1f} us  {compute['percent_of_hop'][name]:6.2f} % of the hop")
    lines += [
        f"  real-time factor {compute['real_time_factor']:.4f}, "
        f"{100 * compute['over_budget_share']:.3f} % of the hops over budget",
        "",
        f"cold start to first sound {cold['total_ms']:.0f} ms (import {cold['import_ms']:.0f}, "
        f"load {cold['load_ms']:.0f}, first block {cold['stream_ms']:.0f})",
        "",
        *machine_lines(result["machine"]),
    ]
    return lines


def files_lines(result: dict[str, Any]) -> list[str]:
    """What `bench files` prints, from measure_files' values."""
    lines = [f"{result['model']} {result['version']}, file to file, one core"]
    for entry in result["files"]:
        lines.append(
            f"  {entry['file']}: {entry['seconds']:.1f} s at {entry['sample_rate']} Hz, {entry['channels']} ch in "
            f"{entry['took_seconds']:.2f} s = {entry['times_real_time']:.1f} x real time "
            f"({100 * entry['core_share']:.0f} % of one core)"
        )
    return [*lines, "", *machine_lines(result["machine"])]


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """Processor, system and versions."""
    load = "" if machine["load"] is None else f", load {machine['load']}"
    return [
        f"{machine['processor']}, {machine['cores']} cores{load}; {machine['system']}",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
    ]


def _samples(count: int, rate: int) -> str:
    return f"{count:5d} samples = {1000 * count / rate:6.3f} ms"
