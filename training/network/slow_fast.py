"""A slow recurrent trunk beside the TCN, which it modulates (compare Cheng et al. 2024, SlowFast, arXiv 2411.02019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.film import Film
from training.network.fine_spectrum import GROUPS, FineSpectrum, spectrum
from training.network.harmonic_front import HarmonicFront
from training.network.part import Memory, Part, Separator, StateSpec
from training.network.phases import Phases
from training.network.recurrence import gated_recurrence
from training.network.tcn import TCN

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class SlowTrunk(Part):
    """Every `rate`-th hop: what was heard since the last time → gated recurrent units → what a `Film` makes of them.

    `[batch, hops, features]` → `[batch, hops, film]`. Slow frame m reads hops m × rate to m × rate + rate − 1 and holds
    from the last of these on, until the next: no latency is added. Before the first one all is zero.

    The step spreads its work: each hop adds its share to the sum that the recurrent units will read, the products with
    their own past are done in the hops before they are needed, and the last hop of a round does the rest. The state is
    that sum, these products, the units (within ±1 by construction) and the film that holds.

    With a `fine` spectrum it also looks at windows `[batch, hops, channels, samples]`, a group of bins a hop; with a
    `front` through that, in the last hop of a round, and the state holds what of the spectrum is there by then.
    """

    def __init__(
        self,
        features: int,
        film: Film,
        rate: int,
        width: int,
        layers: int,
        fine: FineSpectrum | None = None,
        front: HarmonicFront | None = None,
    ):
        super().__init__()
        self.front = front
        self.rate, self.width, self.layers, self.fine = rate, width, layers, fine
        self.features = features
        # Oldest hop first, then the groups of the fine spectrum, or what the front makes of them.
        seen = front.features if front else sum(fine.sizes) if fine else 0
        self.reduce = nn.Linear(rate * features + seen, width)
        self.norm_in = nn.LayerNorm(width)
        self.gru = nn.GRU(width, width, layers, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.film = film
        spectrum_held = [sum(fine.sizes)] if fine and front else []
        self.sizes = [width, 3 * width * layers, width * layers, *spectrum_held, film.project.out_features]
        self.hops: Phases | None = None  # in a deployed trunk
        # While training: the share of pieces before which the units have heard something else, where the pieces of the
        # last step left them, and the seed of the next draw of who goes on.
        self.carried_share = 0.0
        self.ends: Tensor | None = None
        self.draws = 0

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(state=sum(self.sizes), rate=self.rate)

    @property
    def products(self) -> tuple[int, ...]:
        share, gates = self.features * self.width, 3 * self.width**2
        made = [share + gates * len(self.recurrent_at(hop)) for hop in range(self.rate - 1)]
        made.append(share + gates * self.layers + self.film.products[0])
        if self.fine:
            for group, products in enumerate(self.fine.products):
                made[self.looked_at(group)] += products + (0 if self.front else self.fine.sizes[group] * self.width)
        if self.front:
            made[-1] += self.front.products + self.front.features * self.width
        return tuple(made)

    def looked_at(self, group: int) -> int:
        """The hop of a round at which a group of the fine spectrum is taken."""
        return group * self.rate // len(GROUPS)

    def recurrent_at(self, hop: int) -> list[int]:
        """The layers whose product with their own past is done at this hop of a round."""
        return [layer for layer in range(self.layers) if layer * (self.rate - 1) // self.layers == hop]

    @torch.compiler.disable  # the compiler would unroll it, frame by frame
    def recur(self, x: Tensor) -> Tensor:
        """The recurrent units over `[batch, slow frames, width]`, in float32: rounding errors would add up."""
        with torch.autocast(x.device.type, enabled=False):
            if not (self.training and self.carried_share):
                return gated_recurrence(self.gru, x.float())[0]
            y, ends = gated_recurrence(self.gru, x.float(), self._carried(len(x)))
            self.ends = ends.detach()
            return y

    def _carried(self, batch: int) -> Tensor | None:
        """Units `[layers, batch, width]` to begin with: for some pieces what another piece of the last step left."""
        if self.ends is None or self.ends.shape[1] != batch:
            return None
        self.draws += 1
        carried = torch.rand(batch, generator=torch.Generator().manual_seed(self.draws)) < self.carried_share
        return self.ends.roll(1, 1) * carried.to(self.ends)[:, None]

    @torch.compiler.disable  # strided views of overlapping windows; nothing of it learns
    @torch.no_grad()
    def look(self, windows: Tensor, count: int) -> Tensor:
        """The fine spectrum of `count` rounds, `[batch, count, features]`."""
        assert self.fine is not None
        with torch.autocast(windows.device.type, enabled=False):
            groups = (
                self.fine(windows[:, self.looked_at(group) :: self.rate][:, :count], group)
                for group in range(len(GROUPS))
            )
            return torch.cat(list(groups), -1)

    def forward(self, features: Tensor, windows: Tensor | None = None) -> Tensor:
        hops, rate = features.shape[1], self.rate
        count = hops // rate
        x = features[:, : count * rate].unflatten(1, (count, rate)).flatten(2)
        if windows is not None:
            seen = self.look(windows, count)
            x = torch.cat([x, self.front(seen) if self.front else seen], -1)
        x = F.silu(self.norm_in(self.reduce(x).float()))
        x = self.film(self.norm(x + self.recur(x))).float()
        # Slow frame m at hops (m + 1) × rate − 1 and later.
        return F.pad(x, (0, 0, 1, 0)).unsqueeze(2).expand(-1, -1, rate, -1).flatten(1, 2)[:, 1 : hops + 1]

    def step(self, features: Tensor, *rest: Any) -> tuple[Tensor, Memory]:
        """`rest` is the window, if there is a fine spectrum, and the memory."""
        *window, memory = rest
        hops = self.hops or self._split()
        state = hops(features, *window, memory.state, phase=memory.phase)
        return state[-self.sizes[-1] :].unsqueeze(0), memory._replace(state=state)

    def deployed(self) -> Self:
        """The hops of a round become modules of their own, each with its share of the weights."""
        self.hops = self._split()
        return self

    def _split(self) -> Phases:
        return Phases([SlowHop(self, hop) for hop in range(self.rate)])


class SlowHop(nn.Module):
    """What a slow trunk does in one hop of a round: `features` `[1, features]`, `state` `[n]` → the next state."""

    def __init__(self, trunk: SlowTrunk, hop: int):
        super().__init__()
        self.sizes, self.width, self.first, self.last = trunk.sizes, trunk.width, hop == 0, hop == trunk.rate - 1
        count = trunk.features
        self.share = nn.Parameter(trunk.reduce.weight[:, hop * count : (hop + 1) * count])
        self.bias = trunk.reduce.bias if self.first else None
        self.layers = range(trunk.layers) if self.last else trunk.recurrent_at(hop)
        kind = "ih" if self.last else "hh"  # of the newest input, or of its own past
        self.weights = nn.ParameterList(getattr(trunk.gru, f"weight_{kind}_l{layer}") for layer in self.layers)
        self.biases = nn.ParameterList(getattr(trunk.gru, f"bias_{kind}_l{layer}") for layer in self.layers)
        if self.last:
            self.norm_in, self.norm, self.film = trunk.norm_in, trunk.norm, trunk.film
        self.groups: list[int] = []
        self.front = trunk.front
        if trunk.fine:
            self.groups = [group for group in range(len(GROUPS)) if trunk.looked_at(group) == hop]
            self.rows = nn.ParameterList(nn.Parameter(trunk.fine.rows(group), False) for group in self.groups)
        if trunk.fine and trunk.front:
            self.group_sizes = trunk.fine.sizes
            self.front_share = nn.Parameter(trunk.reduce.weight[:, trunk.rate * count :]) if self.last else None
        elif trunk.fine:
            ends = trunk.rate * count + np.cumsum(trunk.fine.sizes)
            begins = ends - trunk.fine.sizes
            fine = [trunk.reduce.weight[:, begins[group] : ends[group]] for group in self.groups]
            self.fine_shares = nn.ParameterList(nn.Parameter(each) for each in fine)

    def forward(self, features: Tensor, *rest: Tensor) -> Tensor:
        *window, state = rest
        total, recurrent, units, *held, film = state.unsqueeze(0).split(self.sizes, 1)
        share = F.linear(features, self.share, self.bias)
        if self.front:
            held = [self._seen(held[0], window[0])]
            if self.front_share is not None:
                share = share + F.linear(self.front.step(held[0]), self.front_share)
        elif self.groups:
            for group, rows, weight in zip(self.groups, self.rows, self.fine_shares, strict=True):
                share = share + F.linear(spectrum(window[0], rows, GROUPS[group][2]), weight)
        total = share if self.first else total + share
        if self.last:
            units, film = self._finished(total, recurrent, units)
        elif self.layers:
            recurrent = self._prepared(recurrent, units)
        return torch.cat([total, recurrent, units, *held, film], 1).squeeze(0)

    def _seen(self, held: Tensor, window: Tensor) -> Tensor:
        """The spectrum that is held, with this hop's groups as they are now."""
        parts = list(held.split(self.group_sizes, 1))
        for group, rows in zip(self.groups, self.rows if self.groups else (), strict=True):
            parts[group] = spectrum(window, rows, GROUPS[group][2])
        return torch.cat(parts, 1)

    def _prepared(self, recurrent: Tensor, units: Tensor) -> Tensor:
        """`recurrent` with the products of this hop's layers with their own past."""
        width, begin, end = self.width, self.layers[0], self.layers[-1] + 1
        pasts = units[:, begin * width : end * width].split(width, 1)
        made = [F.linear(*each) for each in zip(pasts, self.weights, self.biases, strict=True)]
        return torch.cat([recurrent[:, : 3 * width * begin], *made, recurrent[:, 3 * width * end :]], 1)

    def _finished(self, total: Tensor, recurrent: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """The new units and film; the gates as torch's GRU has them (reset, update, new)."""
        x = y = F.silu(self.norm_in(total))
        pasts, products, made = units.split(self.width, 1), recurrent.split(3 * self.width, 1), []
        for layer, (past, product) in enumerate(zip(pasts, products, strict=True)):
            gates = F.linear(y, self.weights[layer], self.biases[layer])
            both, fresh = gates.split([2 * self.width, self.width], 1)
            both_past, fresh_past = product.split([2 * self.width, self.width], 1)
            reset, update = torch.sigmoid(both + both_past).split(self.width, 1)
            new = torch.tanh(fresh + reset * fresh_past)
            y = new + update * (past - new)
            made.append(y)
        return torch.cat(made, 1), self.film(self.norm(x + y))


class SlowFast(Separator):
    """The TCN, some of whose blocks hear `x × gain + offset` instead of their input x, as a `SlowTrunk` says.

    The slow trunk hears the first `levels` features: those that are powers.
    """

    @dataclass(frozen=True)
    class Options:
        """`slow_layers` of `slow_channels` gated recurrent units run every `slow_rate`-th hop and modulate
        `film_blocks`; every second block, from the first on, if there are none listed. With a `fine_window` they also
        hear a `FineSpectrum` of the newest so many samples, through a `HarmonicFront` of `fine_channels` if there are
        any."""

        slow_rate: int = 4
        slow_channels: int = 192
        slow_layers: int = 2
        fine_window: int = 0
        fine_channels: list[int] = field(default_factory=list)
        film_blocks: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            if self.slow_rate < 2 or self.slow_channels < 1 or self.slow_layers < 1:
                raise ValueError("slow_rate is at least 2, slow_channels and slow_layers are at least 1.")
            if self.fine_window and (self.fine_window < 1024 or self.fine_window % 16):
                raise ValueError(f"fine_window is 0 or a multiple of 16 samples from 1024 up, not {self.fine_window}.")
            if self.fine_channels and (not self.fine_window or min(self.fine_channels) < 1):
                raise ValueError("fine_channels are numbers of channels from 1 up, and need a fine_window.")

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__(spec, features, levels)
        options = cast(SlowFast.Options, spec.separator_options)
        blocks = options.film_blocks or list(range(0, len(spec.dilations), 2))
        if any(block not in range(len(spec.dilations)) for block in blocks):
            raise ValueError(f"film_blocks are numbers of blocks, from 0 to {len(spec.dilations) - 1}.")
        self.levels = levels
        self.tcn = TCN(spec, features)
        film = Film(options.slow_channels, blocks, spec.channels)
        self.window = options.fine_window
        fine = FineSpectrum(spec.sample_rate, self.window, spec.audio_channels) if self.window else None
        front = HarmonicFront(fine, options.fine_channels) if fine and options.fine_channels else None
        self.slow = SlowTrunk(levels, film, options.slow_rate, options.slow_channels, options.slow_layers, fine, front)

    @property
    def state_spec(self) -> StateSpec:
        fast, slow = self.tcn.state_spec, self.slow.state_spec
        return StateSpec(fast.dilations, fast.kernel, fast.width, slow.state, slow.rate)

    @property
    def products(self) -> tuple[int, ...]:
        return tuple(self.tcn.products[0] + products for products in self.slow.products)

    def deployed(self) -> Self:
        self.tcn, self.slow = self.tcn.deployed(), self.slow.deployed()
        return self

    def forward(self, features: Tensor, windows: Tensor | None = None) -> Tensor:
        film = self.slow(features[..., : self.levels], windows)
        return self.tcn(features, self.slow.film.modulation(film))

    def step(self, features: Tensor, *rest: Any) -> tuple[Tensor, Memory]:
        film, memory = self.slow.step(features[:, : self.levels], *rest)
        return self.tcn.step(features, memory, self.slow.film.modulation(film))
