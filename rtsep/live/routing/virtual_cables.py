"""Virtual cables: what takes the place of virtual devices on systems whose sound server makes none."""

# By sys.platform: the device's name, and how to get it.
CABLES = {
    "darwin": ("BlackHole", "install BlackHole 2ch (brew install blackhole-2ch)"),
    "win32": ("CABLE Input", "install VB-CABLE from vb-audio.com/Cable"),
}
