"""What a recipe minimises: the weighted sum of its list of losses, whatever the sources."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.losses.catalogue import LOSSES
from training.losses.loss import PRESENT, Context, Loss, Setup, Sound, WeightedSum
from training.losses.spec import LossSpec

Due = tuple[tuple[int, bool], ...]  # of each loss: how many times it counts in this step, and whether everywhere


class Objective(torch.nn.Module):
    """Loss of estimates `[batch, sources, (channels,) samples]` against all that the mixture is made of.

    Estimates are those of `setup.sources`, references those of `setup.references`, each in its order. Everything is
    brought to the mixture's RMS first, once, so that a quiet example weighs as much as a loud one, and spectra are
    computed once for all losses. Returns the scalar loss and the value of each loss that counted, by its label
    (detached, without its weight). Raises ValueError with one sentence where a loss lacks what it needs.
    """

    def __init__(self, specs: Sequence[LossSpec], setup: Setup):
        super().__init__()
        self.specs, self.setup = list(specs), setup
        self.losses = torch.nn.ModuleDict({spec.label: build_loss(spec, setup) for spec in specs})

    def due(self, step: int, progress: float) -> Due:
        """Which losses count at `step` (from 0) and `progress`, the share of the schedule that is over (0 to 1).

        Apart from `forward`, so that a compiled one is compiled once for each answer and not for each step.
        """
        return tuple(
            (
                spec.every if progress >= spec.start and step % spec.every == 0 else 0,
                not spec.where or (spec.where_until is not None and progress >= spec.where_until),
            )
            for spec in self.specs
        )

    def everything(self) -> Due:
        """All losses, each once: what is validated."""
        return tuple((1, not spec.where or spec.where_until is not None) for spec in self.specs)

    @property
    def own_weights(self) -> list[torch.nn.Parameter]:
        """Weights of losses that learn with the network, such as heads that the network itself has no use for."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def forward(
        self,
        estimates: Tensor,
        references: Tensor,
        due: Due | None = None,
        activity: Tensor | None = None,
        trunk: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        context = self.context(estimates, references, activity, trunk)
        total, parts = torch.zeros((), device=estimates.device), {}
        for spec, (times, everywhere) in zip(self.specs, due or self.everything(), strict=True):
            if times:
                where = None if everywhere else context.references[spec.where].power > PRESENT
                if spec.unless:
                    silent = context.references[spec.unless].power <= PRESENT
                    where = silent if where is None else where & silent
                value = self.value(spec, context, where)
                total = total + spec.weight * times * value
                parts[spec.label] = value.detach()
        return total, parts

    def context(self, estimates: Tensor, references: Tensor, activity: Tensor | None, trunk: Tensor | None) -> Context:
        """What the losses are given, everything in float32 and at the mixture's RMS of one."""
        if references.ndim == 3:
            estimates, references = estimates.unsqueeze(2), references.unsqueeze(2)
        mixture = references.sum(1)
        gain = 1 / (mixture.square().mean((1, 2)).sqrt() + 1e-6)
        estimates, references = (waves.float() * gain[:, None, None, None] for waves in (estimates, references))
        return Context(
            Sound(mixture * gain[:, None, None]),
            {name: Sound(estimates[:, index]) for index, name in enumerate(self.setup.sources)},
            {name: Sound(references[:, index]) for index, name in enumerate(self.setup.references)},
            activity,
            None if trunk is None else trunk.float(),
        )

    def value(self, spec: LossSpec, context: Context, where: Tensor | None) -> Tensor:
        """One loss of the batch, a scalar: the mean over the examples that count, summed over its sources."""
        loss = self.losses[spec.label]
        assert isinstance(loss, Loss)
        if not loss.per_source:
            return _mean(loss(context), where)
        if loss.wrapper:
            estimates, references = (
                [sounds[name] for name in spec.of] for sounds in (context.estimates, context.references)
            )
            return _mean(loss(estimates, references, context), where)
        values = []
        for name in spec.of:
            estimate, reference = context.estimates[name], context.references[name]
            counted = loss.counted(reference, context)
            if where is not None:
                counted = where if counted is None else counted & where
            values.append(_mean(loss(estimate, reference, context), counted))
        return torch.stack(values).sum()

    def update(self, estimates: Tensor, references: Tensor, step: int, progress: float) -> None:
        """Updates the losses that learn, where it is due; tensors as `forward`."""
        for spec in self.specs:
            loss = self.losses[spec.label]
            assert isinstance(loss, Loss)
            if loss.update_every and step % loss.update_every == 0 and progress >= spec.start - loss.update_lead:
                if references.ndim == 3:
                    estimates, references = estimates.unsqueeze(2), references.unsqueeze(2)
                for name in spec.of:
                    estimate = estimates[:, self.setup.sources.index(name)].detach()
                    loss.update(estimate, references[:, self.setup.references.index(name)], references.sum(1))


def build_loss(spec: LossSpec, setup: Setup) -> Loss:
    """The loss of one entry; raises ValueError with one sentence where it does not fit the network or the task."""
    for name in spec.of:
        if name not in setup.sources:
            raise ValueError(f"{spec.label}: the network puts out {', '.join(setup.sources)} and no {name}.")
        if name not in setup.references:
            raise ValueError(f"{spec.label}: the task's mixtures hold {', '.join(setup.references)} and no {name}.")
    for key, name in (("where", spec.where), ("unless", spec.unless)):
        if name and name not in setup.references:
            raise ValueError(f"{spec.label}: {key} names a source, {', '.join(setup.references)}, not {name}.")
    kind = LOSSES[spec.loss]
    try:
        if not kind.wrapper:
            return kind(setup, **spec.options)
        if kind.per_source and len(spec.of) < 2:
            raise ValueError("it needs two sources at least.")
        inner = [build_loss(each, setup) for each in spec.around]
        return kind(setup, WeightedSum(inner, [each.weight for each in spec.around]), **spec.options)  # type: ignore[call-arg]
    except ValueError as error:
        raise ValueError(f"{spec.label}: {error}") from None


def _mean(values: Tensor, counted: Tensor | None) -> Tensor:
    """Mean of `[batch]` over the examples that are `counted`; 0 if none is."""
    if counted is None:
        return values.mean()
    weight = counted.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)
