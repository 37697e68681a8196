"""The start of every child process: ``python -I child_main.py PATHS MODULE ARGUMENT ...``, run as a file.

Isolated (-I), so that neither the current folder nor PYTHONPATH can put another module in the place of one of Python's
or ours: what a user's folder holds must not run beside a microphone. PATHS, a JSON list, is where the parent finds its
packages. The rtsep that is imported is the very one that this file belongs to.

A child that compiles says so on standard output: an event, in a line of JSON before all others.
"""

import importlib.util
import json
import runpy
import sys
from pathlib import Path


def _main() -> None:
    paths, module, *arguments = sys.argv[1:]
    sys.path += [path for path in json.loads(paths) if path not in sys.path]
    home = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("rtsep", home / "__init__.py", submodule_search_locations=[str(home)])
    assert spec is not None and spec.loader is not None
    # Where it is installed numba imports it, for linear algebra that nothing here uses: a quarter of a second, 20 MB.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    sys.modules["rtsep"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    from rtsep.engine.compile_notice import tell_by

    tell_by(lambda _: print(json.dumps({"event": "compiling"}), flush=True))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
