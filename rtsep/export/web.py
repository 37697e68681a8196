"""A page that cleans the visitor's microphone in the browser: the flat graph, ONNX Runtime's WebAssembly, no server.

The runtime is no part of rtsep. It is fetched by npm when a page is written, at one version whose digest is known, as
the page calls functions of it that are not promised to stay (see ``web/graph.mjs``).
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from rtsep.errors import InputError, RtsepError
from rtsep.export.flat_form import FlatModel

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # of the package
_RUNTIME = ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_QUANTUM = 128  # samples that an audio worklet is called with
_PAGE = Path(__file__).with_name("web")


def page(flat: FlatModel, package: Path | None = None) -> dict[str, bytes]:
    """All files of the page, by their names. package: the runtime's, if it was fetched already.

    Raises InputError for a model that a worklet cannot run hop by hop, RtsepError when the runtime cannot be had.
    """
    spec = flat.spec
    if spec.channels != 1 or spec.hop != _QUANTUM or spec.condition:
        raise InputError(
            f"{spec.name} cannot run in a page: it must be mono, without side information, and of a hop of {_QUANTUM}."
        )
    told = {
        "name": spec.name,
        "version": spec.version,
        "sample_rate": spec.sample_rate,
        "hop": spec.hop,
        "channels": spec.channels,
        "sources": list(spec.sources),
        "target": spec.target,
        "state": flat.state_size,
        "latency": spec.synthesis_window - spec.hop + spec.lookahead,
    }
    files = {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir()) if path.is_file()}
    files["runtime/LICENSE.txt"] = files.pop("runtime-licence.txt")
    files["icon.svg"] = (_PAGE.parents[1] / "panel" / "static" / "icon.svg").read_bytes()
    files |= {"model.json": json.dumps(told, indent=2).encode(), "model.onnx": flat.content()}
    return files | {f"runtime/{name}": content for name, content in _runtime(package).items()}


def _runtime(package: Path | None) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="rtsep-web-") as folder:
        file = package or _fetched(Path(folder))
        try:
            digest = hashlib.sha512(file.read_bytes()).digest()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}.") from None
        if base64.b64encode(digest).decode() != _SHA512:
            raise InputError(f"{file} is not the package {PACKAGE} {VERSION}: its digest is another.")
        with tarfile.open(file) as archive:
            found = {name: archive.extractfile(f"package/dist/{name}") for name in _RUNTIME}
            return {name: content.read() for name, content in found.items() if content is not None}


def _fetched(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise RtsepError(
            f"The page needs {PACKAGE} {VERSION}, by npm; install that, or hand the package over by --runtime."
        )
    words = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    files = list(folder.glob("*.tgz"))
    if done.returncode or not files:
        said = " ".join(done.stderr.split())[-200:].rstrip(".")
        raise RtsepError(f"npm could not fetch {PACKAGE} {VERSION}: {said or done.returncode}.")
    return files[0]
