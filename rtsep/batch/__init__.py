"""Many files on many machines: Ray hands them out, fsspec reads and writes them (needs the extra `ray`)."""
