"""Vocal removal that needs no training: what one gets from two channels and no network, as steps behind the Stream.

>>> rtsep.load("mid-side")                      # what is in the middle cancelled, the bass kept
>>> rtsep.load("azimuth")                       # bins that come from the middle, masked
>>> rtsep.load("ica")                           # the component nearest to the middle, learned while it plays
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtsep.model_spec import ModelSpec

if TYPE_CHECKING:
    from rtsep.baselines.spatial import Spatial


def _spec(name: str, hop: int, analysis: int, synthesis: int, lookahead: int) -> ModelSpec:
    return ModelSpec(
        form="baseline",
        name=name,
        version="1",
        target="accompaniment",
        licence="MIT",
        trained_on="nothing: no training",
        recipe="none",
        sample_rate=48_000,
        hop=hop,
        analysis_window=analysis,
        synthesis_window=synthesis,
        lookahead=lookahead,
        channels=2,
        sources=("accompaniment", "vocals"),
        kernel=1,
        dilations=(),
        hidden=0,
        condition=0,
        state=0,
        weights_sha256="",
    )


# hop, analysis window, synthesis window, look-ahead, in samples at 48 kHz
SPECS = {
    spec.name: spec
    for spec in (
        _spec("mid-side", 128, 128 + 2 * 384, 128, 384),
        _spec("azimuth", 256, 2048, 512, 0),
        _spec("ica", 128, 256, 128, 0),
    )
}


def step(name: str) -> Spatial:
    """A new step of the method ``name`` (one of SPECS), with a state of its own."""
    from rtsep.baselines.azimuth import Azimuth
    from rtsep.baselines.ica import ICA
    from rtsep.baselines.mid_side import MidSide

    kinds: dict[str, type[Spatial]] = {"mid-side": MidSide, "azimuth": Azimuth, "ica": ICA}
    return kinds[name](SPECS[name])
