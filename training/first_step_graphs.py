"""Weights out of step graphs of the first version, which say nothing of where their weights lie.

What was known of these graphs, and holds for all of them:

- The separator's linear layers and norms are called by the attributes of then, `separator.blocks.0.widen.weight`.
- `weight` and `offset` are its first linear layer, into which the scale of the log powers has gone.
- `old` `[layers, kernel − 1, hidden]` are the depthwise weights of the past taps, `bias` `[layers, hidden]` their bias.
- In the order of the nodes, each block multiplies by its newest depthwise weights and has two slopes.
- The first products are the encoder's, with the transposed filters: long, then short, in a folded bank real and
  imaginary parts apart. The last are the decoder's.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch

from training.network import Network
from training.network.filterbank import LOG_OFFSET, LOG_SCALE
from training.network.weight_names import stable_name
from training.onnx_graph import constants


def read(model: onnx.ModelProto, network: Network) -> dict[str, torch.Tensor]:
    """The weights by their names of today. Raises ValueError if the graph is not of the first version."""
    there, nodes = constants(model), model.graph.node
    blocks, hidden = len(network.spec.dilations), network.spec.hidden
    try:
        found = {stable_name(name): value for name, value in there.items() if name.startswith("separator.")}
        scaled, levels = there["weight"].copy(), network.encoder.levels
        scaled[:, :levels] /= LOG_SCALE
        found["tcn/input/weight"] = scaled
        found["tcn/input/bias"] = there["offset"] - LOG_OFFSET * scaled[:, :levels].sum(1)
        slopes = [there[node.input[1]] for node in nodes if node.op_type == "PRelu"]
        factors = [there[name] for node in nodes if node.op_type == "Mul" for name in node.input if name in there]
        newest = [value for value in factors if value.shape == (hidden,)]
        for index in range(blocks):
            name = f"tcn/block/{index}"
            found[f"{name}/depthwise/weight"] = np.concatenate([there["old"][index], newest[index][None]])
            found[f"{name}/depthwise/bias"] = there["bias"][index]
            found[f"{name}/slopes"] = np.concatenate(slopes[2 * index : 2 * index + 2])
        products = [there[node.input[1]] for node in nodes if node.op_type == "MatMul" and node.input[1] in there]
        parts = 2 if network.encoder.folded else 1
        found["encoder/long"] = products[0].T
        found["encoder/short"] = np.concatenate([product.T for product in products[1 : 1 + parts]])
        found["decoder/basis"] = np.concatenate(products[-parts:])
    except (KeyError, IndexError):
        raise ValueError("It does not say where they lie in its graph.") from None
    return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}
