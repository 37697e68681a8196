"""The errors rtsep raises on purpose: one clear sentence each, and the exit code a program should end with."""

from __future__ import annotations


class RtsepError(Exception):
    """Something failed; the message is one sentence saying what is wrong and what to do."""

    exit_code = 1


class InputError(RtsepError, ValueError):
    """What was handed in (a file, an array, a model, a setting) cannot be used as it is."""

    exit_code = 2
