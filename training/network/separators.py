"""The separators by name: a new one is a file of its own, and an import and a line here (see `part.Separator`)."""

from __future__ import annotations

from training.network.attention import Attention
from training.network.lstm import LSTM
from training.network.part import Separator
from training.network.slow_fast import SlowFast
from training.network.tcn import TCN
from training.network.unet import UNet

SEPARATORS: dict[str, type[Separator]] = {
    "tcn": TCN,
    "slow_fast": SlowFast,
    "lstm": LSTM,
    "attention": Attention,
    "unet": UNet,
}
