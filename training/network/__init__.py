"""The causal Conv-TasNet: filterbank, separator, sequence form and step form."""

from training.network.network import Network, NetworkSpec

__all__ = ["Network", "NetworkSpec"]
