"""Live sound: from a microphone to a device, without a sample ever waiting for Python.

Three processes share one block of memory (``backends.shared_state``). The audio process owns the devices, whose
callback is compiled (``backends.live_callback``): it writes what it hears, and plays results that are there. The worker
process (``engine.worker``) makes the results, or, with slack 0, the callback does (``backends.callback_steps``). The
parent starts both, watches them (``engine.supervisor``) and may do what it likes meanwhile.
"""
