"""The shared block of a player; see `player_callback`."""

from __future__ import annotations

from rtsep.live.backends.shared_state import SharedBlock

PLAYER_CHANNELS = 4  # original and vocals, in stereo


def new_player_block(length: int) -> SharedBlock:
    """A block to play from. length: samples its rings hold, a power of two."""
    block = SharedBlock.create(PLAYER_CHANNELS, length)
    player = block.player
    player.accompaniment = player.accompaniment_target = player.playing_target = 1.0
    player.vocals = player.vocals_target = player.playing = 0.0
    return block
