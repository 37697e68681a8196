"""The records of ``shared_state`` as Numba types, for signatures of compiled functions."""

from __future__ import annotations

from numba import from_dtype

from rtsep.live.backends.shared_state import CLOCKS, LOG_ROW, PING, PLAYER, RESAMPLER, STATE

STATE_TYPE, CLOCKS_TYPE, PLAYER_TYPE, PING_TYPE, RESAMPLER_TYPE, LOG_TYPE = (
    from_dtype(dtype) for dtype in (STATE, CLOCKS, PLAYER, PING, RESAMPLER, LOG_ROW)
)
