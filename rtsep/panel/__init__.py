"""The panel: a page in the browser that drives the same sessions as the terminal does.

``server`` hands out the page and carries messages over one WebSocket; ``commands`` are what a page may ask for; the
tabs' controllers (``tabs``: ``microphone``, ``karaoke``, ``files``, ``report``) do it and say what is so; what is no
command, such as a file on its way, is in the modules that end in ``requests``. The server is the one truth: every page
shows the same.
"""
