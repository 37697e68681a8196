"""Measurements of rtsep on this machine, and pictures of what it does to a sound."""
