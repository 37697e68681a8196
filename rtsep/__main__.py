"""`python -m rtsep`, the same program as `rtsep`."""

from rtsep.cli import main

if __name__ == "__main__":
    main()
