"""Check rules that the linter does not know: layers, circular imports, file sizes and names.

The tests parse every module, including imports inside functions and under TYPE_CHECKING. They do
not see modules that are named in a string (importlib).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "nestvec"

LAYERS = (
    ("errors", "types", "version", "wording"),
    ("files",),
    ("codec", "metrics"),
    ("curve",),
    ("data",),
    ("sources",),
    ("models",),
    ("engines",),
    ("adapt", "index"),
    ("bulk", "measure", "planning", "train"),
    ("export", "operate", "report"),
    ("recipes",),
    ("serve",),
    ("cli",),
)
LAYER_OF = {unit: number for number, layer in enumerate(LAYERS) for unit in layer}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "core", "manager"}
MAX_LINES = 400


def imported_units(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, unit) of each import of nestvec; the unit is "" for the package root."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "."
            continue
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "nestvec":
                yield node.lineno, rest.partition(".")[0]


def broken_import(unit: str, target: str) -> str | None:
    """Say which rule `unit` breaks when it imports `target`, or None."""
    if target == ".":
        return "relative import: name the module in full"
    if target == "":
        return "imports the package root: import the module that defines the name"
    if target not in LAYER_OF:
        return f"imports {target}, which stands in no layer"
    if target == unit or LAYER_OF[target] < LAYER_OF[unit]:
        return None
    if LAYER_OF[target] > LAYER_OF[unit]:
        return f"imports up: {unit} (layer {LAYER_OF[unit]}) -> {target} ({LAYER_OF[target]})"
    if LAYER_OF[unit] == 0:
        return None
    return f"imports its sibling {target} of layer {LAYER_OF[unit]}"


def broken_layers(source: Path) -> list[str]:
    """List `file:line: rule` for each import that does not point down."""
    found = []
    for file in sorted(source.rglob("*.py")):
        place = file.relative_to(source)
        if place == Path("__init__.py"):  # the public names come from anywhere
            continue
        unit = place.parts[0].removesuffix(".py")
        if unit not in LAYER_OF:
            found.append(f"{place}: stands in no layer; add it to LAYERS or move it")
            continue
        for line, target in imported_units(ast.parse(file.read_text("utf-8"), str(file))):
            rule = broken_import(unit, target)
            if rule:
                found.append(f"{place}:{line}: {rule}")
    return found


def imported_modules(tree: ast.AST, modules: set[str]) -> set[str]:
    """Return the modules among `modules` that a file imports, in a function or for types too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & modules


def circles(source: Path) -> list[str]:
    """List each pair of files that import each other, directly or through others."""
    files = {
        ".".join(("nestvec", *file.relative_to(source).with_suffix("").parts)): file
        for file in sorted(source.rglob("*.py"))
        if file.name != "__init__.py"
    }
    imports = {
        module: imported_modules(ast.parse(file.read_text("utf-8")), set(files))
        for module, file in files.items()
    }
    reached = {module: reachable(module, imports) for module in files}
    return [
        f"{one} and {other} import each other"
        for one in files
        for other in reached[one]
        if one < other and one in reached[other]
    ]


def reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    """Return every module that a module needs, directly or through others."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def repeated_classes(source: Path) -> list[str]:
    """List the class names that two files define."""
    places: dict[str, list[str]] = {}
    for file in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file.relative_to(source)))
    return [f"{name}: {', '.join(files)}" for name, files in places.items() if len(files) > 1]


def too_long(source: Path) -> list[str]:
    """List the files over the limit."""
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in source.rglob("*.py")}
    return [
        f"{file.relative_to(source)}: {lines} lines > {MAX_LINES}: split it along a noun"
        for file, lines in sorted(lengths.items())
        if lines > MAX_LINES
    ]


def forbidden_names(folder: Path) -> list[str]:
    """List the files and folders named after nothing."""
    return [
        f"{file.relative_to(folder)}: name it after what it works on"
        for file in sorted(folder.rglob("*"))
        if file.stem.removeprefix("test_").strip("_") in FORBIDDEN_NAMES
    ]


def test_imports_point_down() -> None:
    assert broken_layers(SOURCE) == []


def test_engines_are_reached_through_the_registry() -> None:
    """Nothing outside `engines` imports an engine: `Index` and `evaluate` know the protocol."""
    outside = [file for file in SOURCE.rglob("*.py") if "engines" not in file.parts]
    assert [file for file in outside if "engines.embedded" in file.read_text("utf-8")] == []


def test_no_files_import_each_other() -> None:
    assert circles(SOURCE) == []


def test_no_two_classes_have_one_name() -> None:
    assert repeated_classes(SOURCE) == []


def test_no_file_is_too_long() -> None:
    assert too_long(SOURCE) == []


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_no_file_is_named_after_nothing(folder: str) -> None:
    assert forbidden_names(REPOSITORY / folder) == []


def write(source: Path, place: str, text: str) -> None:
    file = source / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("place", "text", "rule"),
    [
        ("codec/codec.py", "from nestvec.planning.choose import plan", "imports up"),
        (
            "engines/flat.py",
            "def f():\n    import nestvec.cli.main",
            "engines/flat.py:2: imports up",
        ),
        ("types.py", "from nestvec.codec.codec import Codec", "imports up"),
        ("codec/codec.py", "from nestvec.metrics.relevance import ndcg", "sibling metrics"),
        ("train/static.py", "from nestvec.planning.choose import plan", "sibling plan"),
        ("curve/curve.py", "import nestvec", "package root"),
        ("curve/curve.py", "from nestvec import types", "package root"),
        ("engines/flat.py", "from . import base", "relative import"),
        ("curve/curve.py", "from nestvec.things import f", "things, which stands in no layer"),
        ("things.py", "", "things.py: stands in no layer"),
    ],
)
def test_a_broken_layer_is_seen(tmp_path: Path, place: str, text: str, rule: str) -> None:
    write(tmp_path, place, text)
    (found,) = broken_layers(tmp_path)
    assert rule in found


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("__init__.py", "from nestvec.cli.main import run"),
        ("errors.py", "from nestvec.version import __version__"),
        ("engines/flat.py", "from nestvec.engines.base import Index\nimport nestvec.codec.codec"),
        ("cli/main.py", "import nestvector, numpy\nfrom nestvec.types import Stage"),
    ],
)
def test_an_import_that_points_down_is_let_through(tmp_path: Path, place: str, text: str) -> None:
    write(tmp_path, place, text)
    assert broken_layers(tmp_path) == []


def test_a_long_file_and_a_vague_name_are_seen(tmp_path: Path) -> None:
    write(tmp_path, "curve/curve.py", "x = 1\n" * MAX_LINES)
    write(tmp_path, "index/_utils.py", "x = 1\n" * (MAX_LINES + 1))
    write(tmp_path, "core/flat.py", "")
    assert [line.partition(":")[0] for line in too_long(tmp_path)] == ["index/_utils.py"]
    assert [line.partition(":")[0] for line in forbidden_names(tmp_path)] == [
        "core",
        "index/_utils.py",
    ]


def test_a_circle_is_seen_also_where_it_is_for_types_only_or_goes_through_others(
    tmp_path: Path,
) -> None:
    write(tmp_path, "curve/a.py", "if TYPE_CHECKING:\n    from nestvec.curve.b import B")
    write(tmp_path, "curve/b.py", "def f():\n    from nestvec.curve import c")
    write(tmp_path, "curve/c.py", "import nestvec.curve.a")
    write(tmp_path, "curve/d.py", "from nestvec.curve.a import A")
    assert sorted(circles(tmp_path)) == [
        "nestvec.curve.a and nestvec.curve.b import each other",
        "nestvec.curve.a and nestvec.curve.c import each other",
        "nestvec.curve.b and nestvec.curve.c import each other",
    ]


def test_a_class_name_that_is_taken_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "curve/a.py", "class Part: ...")
    write(tmp_path, "index/b.py", "class Part: ...\nclass Other: ...")
    assert repeated_classes(tmp_path) == ["Part: curve/a.py, index/b.py"]
