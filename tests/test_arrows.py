"""Imports between wings run one way. A wing is a package or a lone module below simdata or simtrain."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("simdata", "simtrain")
CONVERTERS = {
    "simdata.bold",
    "simdata.films",
    "simdata.encoders",
    "simdata.imports",
    "simdata.transcripts",
}
# File names in both packages, and why each may be.
SAME_NAME = {
    "__init__": "every package has one",
    "embeddings": "simdata.store: of stimuli, as stored; simtrain.models: of any modality, in one space",
    "root": "of both command lines: the table of their commands",
    "schema": "simdata.store: of a store; simtrain.config: of a configuration. Both are what pydantic checks",
}

Graph = Mapping[str, Mapping[str, list[str]]]  # wing -> wing that it imports -> the imports


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports, wherever the import stands in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import, which this test does not follow"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def _wing(name: str, modules: Iterable[str]) -> str:
    """The wing of a module or of a name in one; a package itself where the name is its own."""
    wing = ".".join(name.split(".")[:2])
    return wing if wing in modules else name.split(".")[0]


def _graph(sources: Mapping[str, str]) -> Graph:
    """The wings of modules, given as name -> source."""
    graph: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, source in sources.items():
        for line, name in _imported(ast.parse(source)):
            if name.split(".")[0] not in PACKAGES:
                continue
            here, there = _wing(module, sources), _wing(name, sources)
            if here != there:
                graph[here][there].append(f"{module}:{line} imports {name}")
    return graph


def _reached(graph: Graph, start: str) -> set[str]:
    reached, ahead = set(), [start]
    while ahead:
        for wing in graph.get(ahead.pop(), {}):
            if wing not in reached:
                reached.add(wing)
                ahead.append(wing)
    return reached


def _on_cycles(graph: Graph) -> list[str]:
    """Every import that is part of a cycle of wings."""
    reached = {wing: _reached(graph, wing) for wing in graph}
    return [
        offending
        for wing, others in graph.items()
        for other, imports in others.items()
        if wing in reached.get(other, ())
        for offending in imports
    ]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return _graph({name: path.read_text() for name, path in _modules().items()})


def test_no_cycle_of_wings(graph):
    assert len(graph) > 20
    assert not (found := _on_cycles(graph)), "wings import each other:\n" + "\n".join(sorted(found))


@pytest.mark.parametrize(
    "source",
    [
        "from simdata.films import sound",
        "def late():\n    import simdata.films.sound",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from simdata.films.sound import Sound",
    ],
)
def test_a_cycle_is_found_with_its_imports(source):
    planted = {
        "simdata": "",
        "simdata.films": "",
        "simdata.store": "",
        "simdata.cli": "from simdata.films import sound",
        "simdata.films.sound": "from simdata.building import build",
        "simdata.building": "from simdata.store.writer import write",
    }
    assert not _on_cycles(_graph({**planted, "simdata.store.writer": ""}))
    found = _on_cycles(_graph({**planted, "simdata.store.writer": source}))
    assert len(found) == 3
    assert any(one.startswith("simdata.store.writer:") and "simdata.films" in one for one in found)
    assert not any(one.startswith("simdata.cli") for one in found)


def test_simdata_imports_nothing_of_simtrain(graph):
    found = [
        one
        for wing in graph
        if wing.split(".")[0] == "simdata"
        for other, imports in graph[wing].items()
        if other.split(".")[0] == "simtrain"
        for one in imports
    ]
    assert not found


def test_the_store_knows_no_converter(graph):
    assert not CONVERTERS & _reached(graph, "simdata.store")


@pytest.mark.parametrize(
    ("ground", "may"), [("simdata.common", set()), ("simtrain.common", {"simdata.common"})]
)
def test_the_ground_stands_on_nothing(graph, ground, may):
    assert any(ground in others for others in graph.values())
    assert not set(graph.get(ground, {})) - may


def test_no_file_name_means_two_things():
    names = {package: {p.stem for p in (ROOT / package).rglob("*.py")} for package in PACKAGES}
    assert names["simdata"] & names["simtrain"] == set(SAME_NAME)


def test_no_two_public_classes_have_one_name():
    places = defaultdict(list)
    for module, path in _modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
