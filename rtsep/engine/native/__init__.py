"""Steps that compiled code calls without Python, for the audio callback: see ``step``."""
