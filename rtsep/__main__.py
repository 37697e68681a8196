"""The `rtsep` program, as `rtsep` and as `python -m rtsep`."""

import sys

INTERRUPTED = 130  # as rtsep.cli.shared, which is not there yet


def main() -> None:
    """Loads and runs the program; Ctrl-C while it loads ends it without a word, as later."""
    try:
        from rtsep.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
