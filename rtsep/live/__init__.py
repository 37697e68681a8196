"""Live sound: from a microphone to a device, without a sample ever waiting for Python.

Three processes share one block of memory (``block``). The audio process owns PortAudio, whose callback is compiled
(``callback``): it writes what it hears, and plays results that are there. The worker process (``worker``) makes the
results. The parent starts both, watches them (``watchdog``) and may do what it likes meanwhile.
"""
