"""rtsep inside other people's frameworks for voice agents; each module needs its framework, and only that one."""
