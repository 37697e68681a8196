"""How a program of the workshop ends when something is wrong: one sentence on stderr and an exit code, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import soundfile
import typer

from rtsep.errors import RtsepError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the program with one sentence on stderr: exit code 2 for what cannot be used, 1 for what failed.

    A measuring package that is not installed is a failure; other missing modules are faults of the code.
    """
    try:
        yield
    except RtsepError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except (ValueError, soundfile.LibsndfileError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        said = str(error)  # a sentence of our own, unless the system gave a number and a name
        if error.strerror:
            said = f"{error.filename or 'A file of the run'}: {error.strerror}."
        typer.echo(said, err=True)
        raise typer.Exit(2 if isinstance(error, FileNotFoundError) else 1) from None
    except ModuleNotFoundError as error:
        if error.name not in ("pesq", "pystoi"):
            raise
        typer.echo(f"The package {error.name} is missing; install the extra: pip install 'rtsep[bench]'.", err=True)
        raise typer.Exit(1) from None
