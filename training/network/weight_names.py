"""The names of the weights, in checkpoints and ONNX files: attributes may be renamed, these stay.

To rename an attribute, put its new path before the older ones in `NAMES`, and nothing is lost. A weight that is not
listed, as those of a part that somebody is trying out, is called by its attribute, with slashes for dots.
"""

from __future__ import annotations

import re

# The name of a weight, and where it is or has been: attributes of the network, and names in older checkpoints. `#` is
# a number and `*` a last word: weight, bias, or one of the statistics of a batch norm.
NAMES: tuple[tuple[str, ...], ...] = (
    ("encoder/long", "encoder.long", "long"),
    ("encoder/short", "encoder.short", "short"),
    ("decoder/basis", "decoder.basis", "decoder"),
    ("tcn/input/*", "separator.bottleneck.*", "separator.tcn.bottleneck.*"),
    ("tcn/block/#/norm/*", "separator.blocks.#.norm.*", "separator.tcn.blocks.#.norm.*"),
    ("tcn/block/#/widen/*", "separator.blocks.#.widen.*", "separator.tcn.blocks.#.widen.*"),
    ("tcn/block/#/depthwise/weight", "separator.blocks.#.depthwise", "separator.tcn.blocks.#.depthwise"),
    ("tcn/block/#/depthwise/bias", "separator.blocks.#.bias", "separator.tcn.blocks.#.bias"),
    ("tcn/block/#/slopes", "separator.blocks.#.slope", "separator.tcn.blocks.#.slope"),
    ("tcn/block/#/narrow/*", "separator.blocks.#.narrow.*", "separator.tcn.blocks.#.narrow.*"),
    ("slow/input/*", "separator.slow.reduce.*"),
    ("slow/front/#/*", "separator.slow.front.layers.#.*", "separator/slow/front/layers/#/*"),
    ("slow/input_norm/*", "separator.slow.norm_in.*"),
    ("slow/gru/*", "separator.slow.gru.*"),  # weight_ih_l0 and so on, as torch.nn.GRU has them
    ("slow/norm/*", "separator.slow.norm.*"),
    ("slow/film/*", "separator.slow.film.project.*", "separator.slow.film.*"),
    ("lstm/scaler/*", "separator.scaler.*"),
    ("lstm/input/*", "separator.reduce.*"),
    ("lstm/input_norm/*", "separator.norm_in.*"),
    ("lstm/layer/#/input", "separator.layers.#.input"),
    ("lstm/layer/#/recurrent", "separator.layers.#.recurrent"),
    ("lstm/layer/#/bias", "separator.layers.#.bias"),
    ("lstm/output/*", "separator.join.*"),
    ("lstm/output_norm/*", "separator.norm_out.*"),
    ("attention/input/*", "separator.input.*"),
    ("attention/layer/#/norm/*", "separator.layers.#.norm.*"),
    ("attention/layer/#/query/*", "separator.layers.#.query.*"),
    ("attention/layer/#/key_value/*", "separator.layers.#.pair.*"),
    ("attention/layer/#/place", "separator.layers.#.place"),
    ("attention/layer/#/output/*", "separator.layers.#.merge.*"),
    ("attention/layer/#/wide_norm/*", "separator.layers.#.norm_wide.*"),
    ("attention/layer/#/widen/*", "separator.layers.#.widen.*"),
    ("attention/layer/#/narrow/*", "separator.layers.#.narrow.*"),
    ("unet/input/*", "separator.widen.*"),
    ("unet/down/#/convolve/*", "separator.down.#.convolve.*"),
    ("unet/down/#/slope", "separator.down.#.slope"),
    ("unet/up/#/convolve/*", "separator.up.#.convolve.*"),
    ("unet/up/#/slope", "separator.up.#.slope"),
    ("unet/back/*", "separator.back.*"),
    ("unet/output/*", "separator.merge.*"),
    ("head/output_scale", "head.scale"),
    ("condition/project/*", "condition.project.*"),
    ("condition/encode/*", "condition.encode.*"),
    ("condition/place", "condition.place"),
    ("condition/score/*", "condition.score.*"),
    ("condition/join/*", "condition.join.*"),
    ("head/norm/*", "head.norm.*", "separator.norm.*"),
    ("head/output/*", "head.project.*", "separator.head.*"),
)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\#", r"(?P<number>\d+)").replace(r"\*", r"(?P<last>\w+)"))


_PATTERNS = [(name, _pattern(path)) for name, *paths in NAMES for path in paths]


def stable_name(name: str) -> str:
    """The name of the weight that is, or was once, called `name`."""
    for stable, pattern in _PATTERNS:
        if found := pattern.fullmatch(name):
            parts = found.groupdict()
            return stable.replace("#", parts.get("number", "")).replace("*", parts.get("last", ""))
    return name.replace(".", "/")


def begins_with(name: str, beginning: str) -> bool:
    """Whether the weight of this (stable) name, or of one that it has had, begins so: `head`, `separator.head`."""
    for stable, *paths in NAMES:
        if found := _pattern(stable).fullmatch(name):
            parts = found.groupdict()
            spelled = [path.replace("#", parts.get("number", "")).replace("*", parts.get("last", "")) for path in paths]
            return any(each.startswith(beginning) for each in (name, *spelled))
    return name.startswith(beginning) or name.replace("/", ".").startswith(beginning)
