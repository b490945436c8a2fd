"""Do the tests see a wrong program? Changes the code a little and runs the tests that belong to it.

    python benchmarks/mutants.py [--count 200] [--seed 0] [--again] [--record]

Each mutant is one change in the body of a function: a comparison with or without its limit or the
other way round, another number, `and` for `or`, a condition turned round, a call, a refusal or an
assignment to an attribute left out. About the same number is drawn, by the seed, from each group
of modules in `mutants.toml`, and tried in a copy of the tree with that group's tests, which stop
at the first failure. A mutant that no test fails on has survived; those that compute the same are
listed in `mutants.toml` with the reason, and do not count. What takes three times as long as the
unchanged code counts as seen.

mutmut and cosmic-ray draw no sample and know no tests by module: a session each for nine groups.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from _record import RESULTS_DIR, finish, parser_of, settings_of

RECORD = RESULTS_DIR / "mutants.json"
ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
SOURCE_ROOTS = ("benchmarks", "engine", "export", "models", "tests")
COPIED = (*SOURCE_ROOTS, "pyproject.toml")
LOADED = (
    "cv2", "diffusers.schedulers", "filelock", "hypothesis", "jinja2", "msgspec", "onnx",
    "onnxruntime", "PIL.Image", "rich.console", "safetensors.numpy", "scipy.optimize",
    "sklearn.linear_model", "tokenizers", "torch",
)  # fmt: skip
"""What the tests load besides the sources: here once, and every run of tests is a fork."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin"}
SKIPPED_FIELDS = frozenset({"annotation", "returns", "decorator_list", "exc", "cause"})
"""Types, decorators, and what an error says."""

Place = tuple[str, ast.AST, ast.AST, str, int | None]
"""Scope, node, its holder, and the field and index there."""


@dataclass(frozen=True)
class Group:
    """Modules, and the tests that belong to them.

    Attributes:
        modules: Patterns of files below the root.
        tests: What pytest takes.
        equivalent: Why, per mutant that computes the same.
    """

    modules: list[str]
    tests: list[str]
    equivalent: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """One change of one file; its name does not change with the lines before it."""

    group: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def mutant_from_text(text: str, groups: dict[str, Group]) -> Mutant:
    """Return the mutant that a record or table names."""
    path, _, name = text.partition(":")
    patterns = [(group, one) for group in groups for one in groups[group].modules]
    return Mutant(next(group for group, one in patterns if Path(path).match(one)), path, name)


def changed_trees(source: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield a name for every change, and the tree while it is changed; it is put right again."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for scope, node, holder, field, index in _places(tree, ""):
        for new in _instead(node, holder, field):
            before = _short(_shown(node, holder))
            _put(holder, field, index, new)
            name = f"{scope}: {before} -> {_short(_shown(new, holder))}"
            seen[name] = seen.get(name, 0) + 1
            yield name + (f" #{seen[name]}" if seen[name] > 1 else ""), tree
            _put(holder, field, index, node)


def changed_source(source: str, name: str) -> str:
    """Return a module's text with one change."""
    for found, tree in changed_trees(source):
        if found == name:
            return ast.unparse(ast.fix_missing_locations(tree))
    raise SystemExit(f"no such change any more: {name}")


def _places(node: ast.AST, scope: str, *, is_in_function: bool = False) -> Iterator[Place]:
    """Yield all places in the bodies of functions, the outer ones first."""
    for field, value in ast.iter_fields(node):
        if field in SKIPPED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_left_alone(child):
                continue
            inner = scope
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = f"{scope}.{child.name}".lstrip(".")
            elif is_in_function:
                yield scope, child, node, field, index
            is_function = is_in_function or isinstance(child, ast.FunctionDef)
            yield from _places(child, inner, is_in_function=is_function)


def _is_left_alone(node: ast.AST) -> bool:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return (
        is_docstring
        or is_for_types
        or isinstance(node, (ast.arguments, ast.Assert, ast.Import, ast.JoinedStr))
    )


def _instead(node: ast.AST, holder: ast.AST, field: str) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node."""
    if type(node) in SWAPS:
        yield SWAPS[type(node)]()
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value, field))
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id])
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield ast.Attribute(node.value, NAMES[node.attr])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif field == "test" and not isinstance(node, ast.Compare):
        yield ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.comprehension(node.target, node.iter, [], node.is_async)
    elif _is_droppable(node):
        yield ast.Pass()


def _other_values(value: Any, field: str) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value * 1.25 if value else 1.0


def _is_droppable(node: ast.AST) -> bool:
    """A statement without which the rest still runs."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    is_change = isinstance(node, (ast.Assign, ast.AugAssign)) and not isinstance(
        targets[0], (ast.Name, ast.Tuple)
    )
    is_added = isinstance(node, ast.AugAssign)
    is_refusal = isinstance(node, ast.If) and isinstance(node.body[-1], (ast.Raise, ast.Return))
    return is_call or is_change or is_added or is_refusal


def _put(holder: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(holder, field, node)
    else:
        getattr(holder, field)[index] = node


def _shown(node: ast.AST, holder: ast.AST) -> str:
    """Return the code that shows a change: the node, or its holder where it alone says little."""
    is_large = isinstance(holder, (ast.stmt, ast.excepthandler))
    is_alone = is_large and not isinstance(node, (ast.operator, ast.Constant))
    return ast.unparse(node if is_alone else holder)


def _short(code: str) -> str:
    first = code.splitlines()[0] if code else ""
    return first if len(first) <= 90 else f"{first[:87]}..."


def drawn(count: int, seed: int, groups: dict[str, Group]) -> list[Mutant]:
    """Draw mutants, about the same number from each group, in turns."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    per_group = []
    for name, group in groups.items():
        files = sorted({one for pattern in group.modules for one in ROOT.glob(pattern)})
        every = [
            Mutant(name, file.relative_to(ROOT).as_posix(), change)
            for file in files
            for change, _ in changed_trees(file.read_text("utf-8"))
        ]
        draw.shuffle(every)
        per_group.append(every)
    turns = (one for turn in zip_longest(*per_group) for one in turn if one is not None)
    return list(islice(turns, count))


class Tree:
    """A copy of the sources in which one file at a time is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "results")
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy(source, folder / name)
        for name in LOADED:
            importlib.import_module(name)

    def write(self, path: str, source: str) -> None:
        """Replace a file; compiled code of the same second and size would be taken for current."""
        file = self.folder / path
        file.write_text(source, encoding="utf-8")
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()

    def passes(self, tests: list[str], seconds: float) -> bool:
        """Return whether all tests pass within the time."""
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(tests,))
        process.start()
        process.join(seconds)
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, 9)  # with whatever processes the tests have started
        process.join()
        return process.exitcode == 0

    def _run(self, tests: list[str]) -> None:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        os.chdir(self.folder)
        roots = [str(self.folder / name) for name in SOURCE_ROOTS]
        os.environ["PYTHONPATH"] = os.pathsep.join(roots)
        sys.path[:0] = roots
        for name in [name for name in sys.modules if name.startswith(("lineup", "_record"))]:
            del sys.modules[name]
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # loaded before: as meant
        os._exit(int(pytest.main([*options, *tests])))


def tests_of(mutant: Mutant, group: Group) -> list[str]:
    """Return the tests of a group, those that mirror the changed file first."""
    name = f"test_{Path(mutant.path).stem}*.py"
    folders = [ROOT / one for one in group.tests if (ROOT / one).is_dir()]
    nearest = [path for folder in folders for path in sorted(folder.rglob(name))]
    return [*(path.relative_to(ROOT).as_posix() for path in nearest), *group.tests]


def time_limits(tree: Tree, groups: dict[str, Group], mutants: list[Mutant]) -> dict[str, float]:
    """Run the tests of the unchanged code; return the seconds that a mutant's may take."""
    limits = {}
    for name in dict.fromkeys(mutant.group for mutant in mutants):
        started = time.perf_counter()
        if not tree.passes(groups[name].tests, 600):
            raise SystemExit(f"{name}: its tests fail on the unchanged code")
        limits[name] = 20 + 3 * (time.perf_counter() - started)
    return limits


def survivors(tree: Tree, groups: dict[str, Group], mutants: list[Mutant]) -> list[Mutant]:
    """Try every mutant; return those that no test fails on."""
    limits = time_limits(tree, groups, mutants)
    found = []
    for number, mutant in enumerate(mutants, 1):
        unchanged = (tree.folder / mutant.path).read_text("utf-8")
        started = time.perf_counter()
        tree.write(mutant.path, changed_source(unchanged, mutant.name))
        survived = tree.passes(tests_of(mutant, groups[mutant.group]), limits[mutant.group])
        tree.write(mutant.path, unchanged)
        found += [mutant] if survived else []
        seconds, word = time.perf_counter() - started, "SURVIVED" if survived else "seen"
        print(f"{number:4} {word:8} {seconds:5.1f} s  {mutant}", flush=True)
    return found


def main() -> None:
    """Draw, try, count."""
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="try the survivors on record alone")
    arguments = parser.parse_args()
    groups = msgspec.toml.decode(TABLE.read_bytes(), type=dict[str, Group])
    same = {name for group in groups.values() for name in group.equivalent}
    settings = settings_of(arguments, "count", "seed")
    if arguments.again:
        record = json.loads(RECORD.read_bytes())
        settings, before = record["settings"], record["results"]
        count, tried = before["mutants"], [mutant_from_text(one, groups) for one in before["alive"]]
        known = before["compute_the_same"]
    else:
        tried = drawn(arguments.count, arguments.seed, groups)
        count, known = len(tried), []
    known = sorted({*known, *(str(one) for one in tried if str(one) in same)})
    tried = [one for one in tried if str(one) not in same]
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        alive = [str(one) for one in survivors(Tree(Path(folder)), groups, tried)]
    results = {
        "mutants": count,
        "compute_the_same": known,
        "alive": alive,
        "seen_percent": round(100 * (1 - len(alive) / (count - len(known))), 1),
        "minutes": round((time.perf_counter() - started) / 60, 1),
    }
    print(f"{len(alive)} alive of {count}, and {len(known)} compute the same")
    finish("mutants", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
