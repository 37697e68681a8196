"""The whole of it: from files and folders to a manifest of what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rtsep.audio_io.part_file import remove_abandoned
from rtsep.audio_io.plan import DENOISED
from rtsep.batch.locations import check_output, is_remote, items
from rtsep.batch.manifest import Manifest, Result
from rtsep.batch.ray_pool import RayPool, cluster
from rtsep.errors import InputError

NAME = "rtsep-manifest.jsonl"

Progress = Callable[[int, int, "Result | None"], None]  # (files done, in all, what became of the last one)


def run(
    inputs: Sequence[str],
    output: str,
    address: str,
    model: str = "denoise",
    strength: float | None = None,
    *,
    recursive: bool = False,
    template: str | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    manifest: str | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Clean every file on the workers of a Ray cluster; what an earlier run has done is not done again.

    inputs, output: files and folders, paths or addresses of fsspec; every worker must be able to reach them.
    address: of the cluster, "auto", or "local" to start one here. workers: None is one a core of the cluster.
    manifest: a file on this machine; None is NAME in ``output``, which must be a folder then.

    Returns the results of all files, those of earlier runs too. Raises InputError and RtsepError.
    """
    from rtsep.model import load

    check_output(output)
    output = output if is_remote(output) else str(Path(output).absolute())  # workers are somewhere else
    if manifest is None and is_remote(output):
        raise InputError(f"Name a file of this machine with --manifest; the one of {output} cannot grow there.")
    spec = load(model).spec
    about = {"model": f"{spec.name} {spec.version}", "weights": spec.weights_sha256[:16], "strength": strength}
    todo = items(inputs, output, DENOISED, recursive, template)
    with Manifest(Path(manifest or Path(output) / NAME), about) as kept:
        left = todo if overwrite else kept.left(todo)
        total, done = len(todo), len(todo) - len(left)
        if progress is not None:
            progress(done, total, None)
        if left:
            try:
                with cluster(address) as ray:
                    cores = int(ray.cluster_resources().get("CPU", 1))
                    pool = RayPool(ray, max(1, min(workers or cores, len(left))), (model, strength, overwrite))
                    for result in pool.run(left):
                        kept.add(result)
                        done += 1
                        if progress is not None:
                            progress(done, total, result)
            finally:
                _tidy(output)
        return [kept.results[item.source] for item in todo]


def _tidy(output: str) -> None:
    """Remove what killed workers have left half-written on this machine."""
    if not is_remote(output):
        folder = Path(output)
        for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            remove_abandoned(place, 0.0)
