"""A model for the ONNX filter of PipeWire's filter chain, from version 1.6 on; no Python runs then.

What the filter does (spa/plugins/filter-graph/plugin_onnx.c of 1.6.8) asks for three things:

- It copies one tensor to a port, from its beginning: so the graph puts out the target alone, `clean [channels, hop]`.
- It hands over a state that it has never written, with whatever lies in that memory: so the last number of the state is
  a mark that the graph makes, and a state without the mark counts as zero.
- A quantum other than the block size leads it past the end of its buffers: so the quantum is locked to the hop.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np

from rtsep.errors import InputError
from rtsep.export.flat_form import FlatModel
from rtsep.export.onnx_writer import constant, node

MODEL, CONFIGURATION = "{name}.onnx", "rtsep-{name}.conf"
OLDEST = (1, 6)  # of PipeWire, with the filter
_MARK = 1234.5
_OWN = "pipewire."


def older_pipewire_here() -> str | None:
    """The version of this machine's PipeWire if it is too old for the filter; None if it is not, or is not there."""
    try:
        said = subprocess.run(["pipewire", "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"Linked with libpipewire ((\d+)\.(\d+)\S*)", said)
    return found[1] if found and (int(found[2]), int(found[3])) < OLDEST else None


def pipewire_model(flat: FlatModel) -> FlatModel:
    """`hop [1, hop]`, `state [n + 1]` → `clean [1, hop]`, `next_state [n + 1]`; any state that is not its own is none.

    Raises InputError for a model of several channels, or one that is told what to take out.
    """
    spec = flat.spec
    if spec.channels != 1 or spec.condition:
        raise InputError(f"{spec.name} cannot be a PipeWire filter: it must be mono, and without side information.")
    target, size = spec.sources.index(spec.target), flat.state_size
    inside = {"state": _OWN + "state", "next_state": _OWN + "next_state", "audio": _OWN + "audio"}
    before = [
        constant(_OWN + "sizes", [size, 1], np.int64),
        node("Split", ["state", _OWN + "sizes"], [_OWN + "given", _OWN + "marked"], axis=0),
        constant(_OWN + "mark", [_MARK], np.float32),
        constant(_OWN + "nothing", [0.0], np.float32),
        node("Equal", [_OWN + "marked", _OWN + "mark"], [_OWN + "own"]),
        node("Where", [_OWN + "own", _OWN + "given", _OWN + "nothing"], [_OWN + "state"]),
    ]
    after = [
        constant(_OWN + "target", target, np.int64),
        node("Gather", [_OWN + "audio", _OWN + "target"], ["clean"], axis=0),
        node("Concat", [_OWN + "next_state", _OWN + "mark"], ["next_state"], axis=0),
    ]
    return flat.around(
        inside,
        before,
        after,
        inputs={"hop": (1, spec.hop), "state": (size + 1,)},
        outputs={"clean": (1, spec.hop), "next_state": (size + 1,)},
        form="pipewire",
    )


def configuration(model: FlatModel, file: Path, strength: float | None = None) -> str:
    """The filter chain as a file for `filter-chain.conf.d`; the model is expected at ``file``.

    strength: most attenuation in dB: what is filtered is mixed with the input, delayed to the sample. None is no limit.
    """
    spec = model.spec
    size = model.state_size
    nodes = [
        f"""{{
                        type = onnx
                        name = rtsep
                        label = {{
                            filename = {json.dumps(str(file), ensure_ascii=False)}
                            blocksize = {spec.hop}
                            input-tensors = {{
                                "hop" = {{ dimensions = [ 1, {spec.hop} ] data = "port:in" }}
                                "state" = {{ dimensions = [ {size} ] data = "tensor:next_state" }}
                            }}
                            output-tensors = {{
                                "clean" = {{ dimensions = [ 1, {spec.hop} ] data = "port:out" }}
                                "next_state" = {{ dimensions = [ {size} ] }}
                            }}
                        }}
                    }}"""
    ]
    links, inputs, outputs = [], "rtsep:in", "rtsep:out"
    if strength is not None:
        dry = 10 ** (-strength / 20)
        # half a sample more than the delay, as the number of samples is rounded down
        late = (spec.synthesis_window - spec.hop + spec.lookahead + 0.5) / spec.sample_rate
        nodes += [
            "{ type = builtin name = copy label = copy }",
            f"""{{ type = builtin name = delay label = delay config = {{ max-delay = {late + 0.1:.1f} }}
                      control = {{ "Delay (s)" = {late:.9f} }} }}""",
            f"""{{ type = builtin name = mix label = mixer
                      control = {{ "Gain 1" = {1 - dry:.6f} "Gain 2" = {dry:.6f} }} }}""",
        ]
        links = [
            '{ output = "copy:Out" input = "rtsep:in" }',
            '{ output = "copy:Out" input = "delay:In" }',
            '{ output = "rtsep:out" input = "mix:In 1" }',
            '{ output = "delay:Out" input = "mix:In 2" }',
        ]
        inputs, outputs = "copy:In", "mix:Out"
    between = "\n                    "
    limit = "all of the noise" if strength is None else f"at most {strength:g} dB of the noise"
    return f"""# A clean microphone by rtsep's model {spec.name} ({spec.version}), without rtsep: it takes away {limit}.
# For PipeWire 1.6 or newer, built with ONNX Runtime. Copy to ~/.config/pipewire/filter-chain.conf.d/ and start it by:
#   systemctl --user restart filter-chain      or      pipewire -c filter-chain.conf
# The quantum is locked to the model's hop of {spec.hop} samples, which the filter cannot do without.
context.modules = [
    {{ name = libpipewire-module-filter-chain
        args = {{
            node.description = "rtsep clean microphone"
            media.name = "rtsep clean microphone"
            audio.rate = {spec.sample_rate}
            audio.position = [ MONO ]
            filter.graph = {{
                nodes = [
                    {between.join(nodes)}
                ]
                links = [
                    {between.join(links)}
                ]
                inputs = [ "{inputs}" ]
                outputs = [ "{outputs}" ]
            }}
            capture.props = {{
                node.name = "rtsep_capture"
                node.passive = true
                node.force-quantum = {spec.hop}
                node.force-rate = {spec.sample_rate}
                node.lock-quantum = true
            }}
            playback.props = {{
                node.name = "rtsep_clean"
                media.class = Audio/Source
                node.force-quantum = {spec.hop}
                node.force-rate = {spec.sample_rate}
                node.lock-quantum = true
            }}
        }}
    }}
]
"""
