"""Optimisers by name: what updates which weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from training.network import Network
from training.network.weight_names import begins_with, stable_name

if TYPE_CHECKING:
    from training.recipe import TrainingSpec

OPTIMIZERS = ("adamw", "muon")
BANK = ("encoder/long", "encoder/short", "decoder/basis")  # the filterbank


def freeze_weights(network: Network, spec: TrainingSpec) -> int:
    """Freezes all weights but those that shall learn (`train_only`; no filterbank of rate 0); returns how many do."""
    for attribute, weight in network.named_parameters():
        name = stable_name(attribute)
        fixed = name in BANK and spec.filterbank_learning_rate_share == 0
        weight.requires_grad_(begins_with(name, spec.train_only) and not fixed)
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def ordered(network: Network) -> dict[str, Parameter]:
    """All that may learn by its name, in the order in which checkpoints have always kept moments."""
    named = {stable_name(attribute): weight for attribute, weight in network.named_parameters()}
    return dict(sorted(named.items(), key=lambda each: each[0].startswith("slow/")))


def build_optimizers(network: Network, spec: TrainingSpec) -> list[Optimizer]:
    """`adamw` for everything, or `muon` for the separator's matrices and AdamW for the rest.

    Muon (Jordan 2024; scaled as by Liu et al. 2025, arXiv 2502.16982, so that both take the same learning rate) makes
    the update of a matrix orthogonal. Encoder and decoder are no such matrices: their rows are filters. Their weights
    are small, a decoder's 2 / window, and Adam moves every weight by the learning rate, however small it is: with a
    `filterbank_learning_rate_share` below 1 they are a group of their own. What `learning` froze is in no group.
    """
    weights = {name: weight for name, weight in ordered(network).items() if weight.requires_grad}
    bank = [weight for name, weight in weights.items() if name in BANK]
    linear = {id(layer.weight) for layer in network.modules() if isinstance(layer, torch.nn.Linear)}
    matrices = [weight for weight in weights.values() if id(weight) in linear] if spec.optimizer == "muon" else []
    chosen = {id(weight) for weight in matrices}
    apart = {id(weight) for weight in bank} if spec.filterbank_learning_rate_share < 1 else set()
    rest = [weight for weight in weights.values() if id(weight) not in chosen | apart]
    decayed = [weight for weight in rest if weight.ndim > 1]
    plain = [weight for weight in rest if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if bank and spec.filterbank_learning_rate_share < 1:
        groups.append({"params": bank, "weight_decay": 0.0, "share": spec.filterbank_learning_rate_share})
    optimizers: list[Optimizer] = [
        AdamW(
            groups,
            lr=spec.learning_rate,
            betas=(0.9, 0.98),
            fused=True,  # the network has many small weights: one call instead of hundreds
        )
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices, lr=spec.learning_rate, weight_decay=spec.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimizers


def loss_optimizers(weights: list[Parameter], spec: TrainingSpec) -> list[Optimizer]:
    """AdamW for what losses have to learn with the network, apart from it: none of it goes over to another run."""
    return [AdamW(weights, lr=spec.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)] if weights else []
