"""`rtsep serve`: streams over WebSocket, all on one Engine (needs the extra `serve`)."""
