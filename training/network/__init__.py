"""The causal Conv-TasNet: its parts, each with a sequence form and a step, and the network that joins them."""

from training.network.network import Network
from training.network.spec import NetworkSpec

__all__ = ["Network", "NetworkSpec"]
