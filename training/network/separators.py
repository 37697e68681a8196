"""The separators by name: a new one is a file of its own, and an import and a line here.

A separator is a part, `[batch, frames, features]` → `[batch, frames, channels]`, with a dataclass `Options` of what it
takes from a recipe's network section beside the keys of every network, and made of
`(spec: NetworkSpec, features: int, levels: int)`; `levels` is how many features, the first ones, are log powers.
"""

from __future__ import annotations

from typing import Any

from training.network.slow_fast import SlowFast
from training.network.tcn import TCN

SEPARATORS: dict[str, Any] = {"tcn": TCN, "slow_fast": SlowFast}
