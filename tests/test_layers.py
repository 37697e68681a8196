"""Who may import whom: DESIGN's rooms, by the import graph of the source text (lazy imports in functions included)."""

from __future__ import annotations

import grimp
import pytest

# The rooms of rtsep from the top down: a room imports rooms below it. A line is one rank; `model` opens what `engine`
# steps, and `engine` takes a model, so these rooms share a rank, and only no circle of modules keeps them apart.
RANKS = (
    ("cli",),
    ("panel", "service", "integrations"),
    ("report", "export"),
    ("live",),
    ("karaoke", "batch"),
    ("audio_io",),
    ("model", "engine", "baselines"),
    ("model_spec",),
    ("errors", "printable"),
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}

# Circles that only type annotations close (`if TYPE_CHECKING`): an object that is handed over is named by what it is
# handed to. Each may become smaller, none larger, and there may be no other.
TYPES_ONLY = [
    {f"rtsep.live.engine.{name}" for name in ("live_engine", "live_supervisor", "status")},
    {f"rtsep.live.player.{name}" for name in ("player", "player_supervisor")},
    # The spec of a network checks what its parts are named, and they are made of it.
    {
        *(f"training.network.{name}" for name in ("film", "head", "part", "separators", "slow_fast", "spec", "tcn")),
        *(
            f"training.network.{name}"
            for name in ("attention", "conditions", "encoder", "fine_spectrum", "lstm", "unet")
        ),
    },
    {
        *(f"training.{name}" for name in ("optimizers", "recipe", "recipe_checks", "tasks")),
        *(f"training.tasks.{name}" for name in ("songs", "speech", "task")),
        *(
            f"training.tasks.{name}"
            for name in (
                *("events", "informed_songs", "instruments", "noisy_targets"),
                *("speakers", "taught_speech", "unlabelled"),
            )
        ),
    },
]


def graph(types: bool = False) -> grimp.ImportGraph:
    """The import graph; with ``types``, with what is imported for annotations alone."""
    return grimp.build_graph(
        "rtsep",
        "training",
        "benchmarks",
        include_external_packages=True,
        exclude_type_checking_imports=not types,
        cache_dir=None,
    )


def circles(found: grimp.ImportGraph) -> list[set[str]]:
    """The sets of modules that import each other, directly or by others."""
    sets: list[set[str]] = []
    for module in sorted(found.modules):
        around = found.find_upstream_modules(module) & found.find_downstream_modules(module)
        if around and around | {module} not in sets:
            sets.append(around | {module})
    return sets


def room(module: str) -> str:
    """`rtsep.live.backends.callback` is in the room `live`; rtsep itself, and what runs it, are in none."""
    return module.split(".")[1] if module.startswith("rtsep.") else ""


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(graph()) == []


def test_annotations_close_no_circle_that_is_not_known() -> None:
    unknown = [circle for circle in circles(graph(types=True)) if not any(circle <= known for known in TYPES_ONLY)]
    assert unknown == []


def test_rtsep_imports_neither_training_nor_benchmarks_nor_torch() -> None:
    found = graph(types=True)
    for outside in ("training", "benchmarks", "tests", "torch", "lightning_fabric", "onnx"):
        inside = [module for module in found.modules if module.split(".")[0] == outside]
        users = {user for module in inside for user in found.find_modules_that_directly_import(module)}
        assert not {user for user in users if user.startswith("rtsep")}, outside
    assert "torch" in found.modules, "the graph does not see torch, so this test sees nothing"


def test_rooms_import_downwards() -> None:
    found = graph()
    wrong = []
    for module in sorted(found.modules):
        for other in sorted(found.find_modules_directly_imported_by(module)):
            here, there = room(module), room(other)
            if here in RANK and there in RANK and here != there and RANK[there] < RANK[here]:
                wrong.append(f"{module} -> {other}")
    assert wrong == []


def test_every_room_has_a_rank() -> None:
    rooms = {room(module) for module in graph().modules if room(module)} - {"__main__"}
    assert rooms - set(RANK) == set()


@pytest.mark.parametrize("name", ["rtsep", "rtsep.live.engine.live_engine"])
def test_a_circle_would_be_found(name: str) -> None:
    """Laid into the graph by hand: the engine importing ``name``, which needs the engine."""
    found = graph()
    found.add_import(importer="rtsep.engine.stream", imported=name)
    assert any({name, "rtsep.engine.stream"} <= circle for circle in circles(found))
