"""What a quantum costs in the page that `rtsep web` writes, in headless Chromium: `python -m benchmarks.web`.

Two figures a model. `worklet`: the mean of the worklet's own clock over `--seconds`, which tells whole milliseconds and
is right in the mean only. `page`: the same module called on the page, where each hop can be timed. Beside them the
step graph in ONNX Runtime without a browser. Writes benchmarks/results/web.json.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import functools
import http.server
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import rtsep
from benchmarks.machine import environment
from rtsep.export.files import write_files
from rtsep.export.flat_form import flat_model
from rtsep.export.web import PACKAGE, VERSION, page
from training.evaluation.evaluate import write_json
from training.one_sentence import one_sentence

RESULT = Path(__file__).with_name("results") / "web.json"
NOISY = Path(__file__).parents[1] / "tests" / "data" / "demo.noisy.flac"
MODELS = ("denoise-small", "denoise")
_HOPS = """async (hops) => {
  const { FlatGraph } = await import("./graph.mjs");
  const { default: make } = await import("./runtime/ort-wasm-simd-threaded.mjs");
  const spec = await (await fetch("model.json")).json();
  const model = await (await fetch("model.onnx")).arrayBuffer();
  const binary = await WebAssembly.compileStreaming(fetch("runtime/ort-wasm-simd-threaded.wasm"));
  const graph = await FlatGraph.create(make, binary, model, spec);
  const times = [];
  for (let hop = 0; hop < hops; hop += 1) {
    graph.hop.data.forEach((_, i, data) => { data[i] = 0.1 * (Math.random() - 0.5); });
    const began = performance.now();
    graph.run();
    times.push(performance.now() - began);
  }
  return times;
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def in_browser(folder: Path, seconds: float, hops: int) -> tuple[str, float, list[float]]:
    """Chromium's version, the worklet's mean and the page's times, ms."""
    from playwright.sync_api import sync_playwright

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        opened = browser.new_page()
        opened.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        times = opened.evaluate(_HOPS, hops)
        opened.set_input_files("#file", str(NOISY))
        opened.locator("body[data-state=running]").wait_for()
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1.0)
            found.append(float(opened.evaluate("document.body.dataset.compute ?? NaN")))
        version = browser.version
        browser.close()
    server.shutdown()
    return version, float(np.nanmean(found)), times


def without_browser(name: str, hops: int) -> list[float]:
    """Milliseconds of each hop of a stream."""
    model = rtsep.load(name)
    stream, times = model.stream(block_multiple=model.spec.hop), []
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, (hops, model.spec.hop)).astype(np.float32)
    for block in noise:
        began = time.perf_counter()
        stream.process(block)
        times.append(1000 * (time.perf_counter() - began))
    return times


def quantiles(times: list[float]) -> dict[str, float]:
    """Median and the 99th percentile, rounded to microseconds; the first tenth warms up."""
    kept = times[len(times) // 10 :]
    return {"p50": round(float(np.median(kept)), 3), "p99": round(float(np.percentile(kept, 99)), 3)}


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of sound through the worklet.")] = 20.0,
    hops: Annotated[int, typer.Option(help="Hops that are timed one by one.")] = 3000,
    runtime: Annotated[Path | None, typer.Option(help="Package of onnxruntime-web that was fetched already.")] = None,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Measure, print and write."""
    with one_sentence():
        measure(seconds, hops, runtime, out)


def measure(seconds: float, hops: int, runtime: Path | None, out: Path) -> None:
    """Every model, and the result written."""
    measured: dict[str, Any] = {}
    for name in MODELS:
        flat = flat_model(name)
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), page(flat, runtime), overwrite=False)
            version, worklet, times = in_browser(Path(folder), seconds, hops)
        measured[name] = {
            "budget_ms": round(1000 * flat.spec.hop / flat.spec.sample_rate, 3),
            "worklet_ms": round(worklet, 3),
            "page_ms": quantiles(times),
            "without_browser_ms": quantiles(without_browser(name, hops)),
        }
        print(name, measured[name])
    found = {"format": 1, "chromium": version, PACKAGE: VERSION, "seconds": seconds, "hops": hops, "models": measured}
    write_json(out, found | environment())


if __name__ == "__main__":
    typer.run(main)
