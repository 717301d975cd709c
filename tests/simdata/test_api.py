"""What simdata offers to Python: its public names, and what importing them costs."""

import doctest
import inspect
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
import pytest
import xarray as xr
from store_files import call, contents

import simdata
from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.store import BoldReader

HEAVY = ("numba", "scipy", "dask.distributed", "distributed", "pydantic", "torch", "yaml")


def imported_by(statement):
    """Names of the modules that a fresh process has after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("module", ["simdata", "simdata.store"])
def test_opening_stores_needs_little_more_than_xarray_and_zarr(module):
    """A notebook that only reads does not wait for what builds."""
    alone = imported_by("import xarray, zarr")
    ours = imported_by(f"import {module}")
    assert module in ours
    assert [name for name in HEAVY if name in ours - alone] == []
    others = {name.split(".")[0] for name in ours - alone} - set(sys.stdlib_module_names)
    assert others == {"simdata"}


@pytest.fixture
def mine(built, tmp_path, monkeypatch):
    """The working folder: mini.yaml, bold, movies and the store mini.zarr."""
    folder = shutil.copytree(built, tmp_path / "mine")
    (folder / "s.zarr").rename(folder / "mini.zarr")
    monkeypatch.chdir(folder)
    return folder


def sources(convert=str, folder=Path()):
    return {"source": convert(folder / "bold"), "movies": convert(folder / "movies")}


FUNCTIONS = [name for name in simdata.__all__ if inspect.isroutine(getattr(simdata, name))]


def test_the_public_names_are_these_and_are_found_at_their_first_use():
    assert set(simdata.__all__) == {
        "BoldReader",
        "Catalog",
        "__version__",
        "build",
        "embed",
        "import_embeddings",
        "open",
        "plays",
        "parcellate",
        "rechunk",
        "resplit",
        "scene_sets",
    }
    assert dir(simdata) == sorted(simdata.__all__)
    assert simdata.BoldReader is BoldReader
    with pytest.raises(AttributeError, match="module 'simdata' has no attribute 'fit'"):
        simdata.fit  # noqa: B018


@pytest.mark.parametrize("name", sorted({*simdata.__all__} - {"__version__"}))
def test_what_the_documentation_of_a_name_shows_is_so(name, mine):
    documented = getattr(simdata, name)
    sections = ["Parameters", "Raises", "Examples", *(["Returns"] if name in FUNCTIONS else [])]
    assert [title for title in sections if f"{title}\n    ---" not in documented.__doc__] == []
    names = {"simdata": simdata, "np": np}
    examples = doctest.DocTestFinder(recurse=False).find(documented, name, globs=names)
    assert sum(len(example.examples) for example in examples) > 0
    report = []
    for example in examples:
        doctest.DocTestRunner().run(example, out=report.append)
    assert "".join(report) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "demo", "--source", "bold", "--movies", "movies", "--out", "out"],
        ["embed", "mini.zarr", "--movies", "movies", "--encoder", "logmel"],
        ["import-embeddings", "mini.zarr", "B=b.npy", "--name", "mine", "--modality", "video"],
        ["rechunk", "mini.zarr", "out", "--layout", "runs"],
        ["parcellate", "mini.zarr", "a.dlabel.nii", "--out", "out"],
        ["resplit", "mini.zarr", "--splits", "halves"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_parameter_and_its_option_have_one_default(arguments):
    name, *rest = arguments
    command = cli.get_command(click.Context(cli), name)
    taken = command.make_context(name, rest).params
    parameters = dict(inspect.signature(getattr(simdata, name.replace("-", "_"))).parameters)
    parameters.pop("progress", None)
    assert parameters.keys() == taken.keys()
    optional = {key: one.default for key, one in parameters.items() if one.default is not one.empty}
    # Of an option that may be repeated click has () for nothing.
    assert {key: taken[key] or None for key in optional} == {key: optional[key] or None for key in optional}
    required = {option.name for option in command.params if option.required}
    assert required == parameters.keys() - optional.keys()


@pytest.mark.parametrize("convert", [str, Path])
def test_paths_are_texts_or_paths_and_the_default_store_is_that_of_the_command(mine, convert):
    summary = simdata.build(
        convert(mine / "mini.yaml"), **sources(convert, mine), out=convert(mine / "other.zarr")
    )
    assert sorted(summary.converted) == ["1/A", "film/A", "film/B"]
    assert (summary.complete, summary.possible) == (1, 2)
    assert repr(summary) == "BuildSummary(converted=3, current=0, skipped=0, complete=1, possible=2)"
    # Of times; and motion energy, whose last bits depend on the number of threads.
    recorded = [".build", "zarr.json", "provenance", "video_motion_energy"]
    assert contents(mine / "other.zarr", recorded) == contents(mine / "mini.zarr", recorded)
    built, expected = simdata.open(convert(mine / "other.zarr")), simdata.open(mine / "mini.zarr")
    xr.testing.assert_equal(built.drop_vars("video_motion_energy"), expected.drop_vars("video_motion_energy"))
    xr.testing.assert_allclose(built.video_motion_energy, expected.video_motion_energy, rtol=1e-4)
    sizes = simdata.rechunk(convert(mine / "other.zarr"), convert(mine / "runs.zarr"), layout="runs")
    assert repr(sizes) == f"RechunkSummary(before={sizes.before}, after={sizes.after})"
    assert 0 < sizes.after < sizes.before
    for store in ("other.zarr", "runs.zarr"):
        run = simdata.BoldReader(convert(mine / store)).read_run(0, 0, 0)
        np.testing.assert_array_equal(run, simdata.BoldReader("mini.zarr").read_run(0, 0, 0))
    for arrays in ("written=['audio_more'], current=[]", "written=[], current=['audio_more']"):
        embedded = simdata.embed(
            convert(mine / "other.zarr"), movies=convert(mine / "movies"), encoders="logmel,name=more"
        )
        assert repr(embedded) == f"EmbedSummary({arrays}, skipped=0)"


@pytest.mark.parametrize("convert", [str, Path])
def test_embeddings_are_given_by_movie_or_as_on_the_command_line(mine, convert):
    rows = np.random.default_rng(0).normal(size=(19, 4)).astype(np.float32)
    np.save(mine / "b.npy", rows)
    given = {"modality": "video", "allow_missing": True}
    by_movie = simdata.import_embeddings(
        convert(mine / "mini.zarr"), {"B": convert(mine / "b.npy")}, name="one", drop_last={"B": 1}, **given
    )
    assert repr(by_movie) == "ImportSummary('video_one', written=True, movies=['B'])"
    simdata.import_embeddings("mini.zarr", ["B=b.npy"], name="two", drop_last=1, **given)
    options = ["--name", "three", "--modality", "video", "--drop-last", 1, "--allow-missing"]
    assert call("import-embeddings", "mini.zarr", "B=b.npy", *options).exit_code == 0
    store = simdata.open("mini.zarr").sel(movie="B")
    np.testing.assert_array_equal(store.video_one[:18], rows[:18])
    np.testing.assert_array_equal(store.video_one, store.video_two)
    np.testing.assert_array_equal(store.video_one, store.video_three)
    assert not simdata.import_embeddings(
        "mini.zarr", {"B": "b.npy"}, name="one", drop_last=1, **given
    ).written


def test_a_catalog_is_a_name_a_file_or_an_object(mine):
    catalog = simdata.Catalog.load(mine / "mini.yaml")
    assert repr(catalog) == "Catalog('mini', movies=2)"
    assert simdata.Catalog.load("demo").name == "demo"
    text = simdata.open("mini.zarr").simdata.metadata.catalog_text
    for given in (catalog, simdata.open("mini.zarr").simdata.catalog, "mini.yaml"):
        summary = simdata.build(given, **sources(), out="mini.zarr")
        assert (len(summary.current), summary.notes) == (3, [])
    assert simdata.open("mini.zarr").simdata.metadata.catalog_text == text
    edited = catalog.model_copy(update={"title": "Another"})
    assert "title" in simdata.build(edited, **sources(), out="mini.zarr").notes[0]
    assert simdata.open("mini.zarr").simdata.catalog == edited
    with pytest.raises(
        UserError, match=r"counts volumes of 1 s where tr is 1\.0"
    ):  # a copy with other values is checked too
        simdata.build(catalog.model_copy(update={"tr": 2.0}), **sources(), out="other.zarr")
    with pytest.raises(UserError, match=r"no catalog 'mine': give the path of a .yaml file or one of .*demo"):
        simdata.build("mine", **sources(), out="other.zarr")


def test_a_build_with_two_workers_works_outside_of_the_main_thread(mine):
    told = []
    with ThreadPoolExecutor(1) as elsewhere:
        call = elsewhere.submit(
            simdata.build,
            "mini.yaml",
            **sources(),
            out="other.zarr",
            encoders=(),
            workers=2,
            progress=lambda *state: told.append(state),
        )
        assert call.result().converted[0] == "1/A"
    assert told == [("runs", 0, 1), ("runs", 1, 1), ("films", 0, 2), ("films", 1, 2), ("films", 2, 2)]


def test_nothing_is_printed_unless_it_is_asked_for(mine, capfd):
    simdata.build("mini.yaml", **sources(), out="other.zarr", encoders="logmel", subjects="1")
    simdata.embed("other.zarr", movies="movies", encoders=["logmel,name=more"])
    simdata.rechunk("other.zarr", "runs.zarr", layout="runs")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "s3://bucket/store"}, "`out`: 's3://bucket/store' is a URL; give a path of this machine"),
        ({"source": "https://host/bold"}, "`source`: 'https://host/bold' is a URL"),
        ({"encoding": "int4"}, "`encoding` is 'int4': choose one of int8, float16, float32"),
        ({"on_error": "go on"}, "`on_error` is 'go on': choose one of stop, skip"),
        ({"workers": 0}, "`workers` is 0: give 1 or more"),
        ({"max_memory": 1_000_000}, "`max_memory` 1MB is too little"),
        ({"out": "movies"}, "`out` movies: is there and is not a simdata store"),
        ({"encoding": "float16"}, "to another `out`"),
    ],
)
def test_messages_name_the_parameter(mine, options, message):
    given = {**sources(), "out": "mini.zarr"} | options
    if "max_memory" in options:  # what is converted already needs none
        given["out"] = "other.zarr"
    with pytest.raises(UserError, match=re.escape(message)) as error:
        simdata.build("mini.yaml", **given)
    assert "--" not in str(error.value)


def test_messages_of_the_command_line_name_the_option(mine):
    with pytest.raises(UserError, match=r"^--out movies: is there"):
        call("build", "mini.yaml", "--source", "bold", "--movies", "movies", "--out", "movies")
