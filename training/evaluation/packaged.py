"""Files inside installed packages, found without importing the package.

Some packages carry a network that is wanted here, and code with requirements that are not (a framework, an audio
library). Their files are found by what the installer recorded of them.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def packaged_file(package: str, end: str) -> Path | None:
    """The file of an installed package whose path ends in `end` (with /), or None if package or file is missing.

    `package` is the name that pip knows; the path is absolute.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.as_posix().endswith("/" + end)]
    return next((path.resolve() for path in found if path.is_file()), None)
