"""A store through plain xarray and back: copies, selections, netCDF, variables of one's own."""

import copy
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from cifti_files import noise, write_dtseries
from film_files import write_film
from store_files import CATALOG, VOLUMES, build, call, contents

import simdata
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.store.metadata import VARIABLE
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import clip_split, find_windows

LATE = "seconds from the middle"
SELECTIONS = {
    "whole": {},
    "one subject": {"subject": ["2"]},
    "subjects in another order": {"subject": ["2", "1"]},
    "one movie": {"movie": ["B"]},
    "a subject and a movie": {"subject": ["2"], "movie": ["B"]},
    "the first seconds": {"second": slice(0, 14)},
    LATE: {"second": slice(5, 35)},
    "one hemisphere": {"hemisphere": ["R"]},
}
SECONDS = max(VOLUMES.values())


@pytest.fixture(scope="module")
def pair(built, tmp_path_factory):
    """The built store with a second subject, who has the other run; not to be changed."""
    folder = shutil.copytree(built, tmp_path_factory.mktemp("pair") / "pair")
    write_dtseries(folder / "bold/2/B.dtseries.nii", noise("32k", VOLUMES["B"]), "32k")
    build(folder)
    return folder


@pytest.fixture
def mine(pair, tmp_path):
    """A copy to work on."""
    return shutil.copytree(pair, tmp_path / "mine")


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        yield


def plain(store):
    return xr.open_zarr(store, chunks={"second": -1})


def equal(left, right):
    xr.testing.assert_identical(left.load().drop_attrs(), right.load().drop_attrs())
    for name, variable in left.variables.items():
        np.testing.assert_equal(dict(variable.attrs), dict(right[name].attrs))


@pytest.mark.parametrize(
    ("opened", "selection"),
    [
        *((simdata.open, selection) for selection in SELECTIONS.values()),
        (plain, {}),
        (plain, SELECTIONS[LATE]),
    ],
)
def test_a_selection_is_written_as_it_is_stored(pair, tmp_path, opened, selection):
    chosen = opened(pair / "s.zarr").sel(selection)
    chosen.to_zarr(tmp_path / "new.zarr")
    equal(opened(tmp_path / "new.zarr"), opened(pair / "s.zarr").sel(selection))
    old, new = (zarr.open_group(path, mode="r") for path in (pair / "s.zarr", tmp_path / "new.zarr"))
    for name, array in new.arrays():
        assert (array.dtype, array.chunks) == (old[name].dtype, old[name].chunks)
    runs = np.argwhere(xr.open_zarr(tmp_path / "new.zarr").run_status.values).tolist()
    shards = [
        path.relative_to(tmp_path / "new.zarr/bold/c").parts
        for path in (tmp_path / "new.zarr/bold/c").rglob("0")
    ]
    assert {(int(p[0]), int(p[1])) for p in shards if len(p) == 5} == {tuple(run) for run in runs}


def test_decoded_values_are_float32(pair):
    opened = simdata.open(pair / "s.zarr")
    assert {name: array.dtype for name, array in opened.data_vars.items() if array.dtype.kind == "f"} == {
        **dict.fromkeys(
            ["bold", "bold_mean", "bold_std", "video_motion_energy", "audio_logmel", "sphere"], np.float32
        ),
        "film_duration": np.float64,
    }
    np.testing.assert_array_equal(opened.bold, plain(pair / "s.zarr").bold)


@pytest.mark.parametrize(
    ("opened", "engine", "selection"),
    [
        (simdata.open, "h5netcdf", {}),
        (simdata.open, "netcdf4", {}),
        (simdata.open, "h5netcdf", {"subject": ["2"], "second": slice(3, 9)}),
        (xr.open_zarr, "h5netcdf", {"subject": "1", "movie": "A"}),
        (xr.open_zarr, "netcdf4", {"subject": ["1"], "hemisphere": ["R"], "second": slice(0, 5)}),
    ],
)
def test_netcdf(pair, tmp_path, opened, engine, selection):
    chosen = opened(pair / "s.zarr").sel(selection)
    chosen.to_netcdf(tmp_path / "new.nc", engine=engine)
    with xr.open_dataset(tmp_path / "new.nc", engine=engine) as again:
        xr.testing.assert_equal(again.load(), chosen.load())
        assert again.bold.encoding["dtype"] == np.int8
        assert again.simdata.metadata.recipe == simdata.open(pair / "s.zarr").simdata.metadata.recipe
        assert again.simdata.flag_names("segment") == chosen.simdata.flag_names("segment")


def test_no_attribute_has_structure(pair):
    """Nothing but what every format holds: text, numbers, and lists of numbers."""
    opened = xr.open_zarr(pair / "s.zarr")
    for attributes in [opened.attrs, *(variable.attrs for variable in opened.variables.values())]:
        for value in attributes.values():
            assert isinstance(value, str | int | float) or all(isinstance(item, int) for item in value)
            assert not isinstance(value, bool)


USED = {
    "whole": {},
    "one subject": {"subject": ["2"]},
    "subjects in another order": {"subject": ["2", "1"]},
    "one movie": {"movie": ["B"]},
    "the first seconds": {"second": slice(0, 14)},
}
PARTS = {
    "seconds from the middle": (
        {"second": slice(5, 35)},
        r"its second axis is 5, 6, 7, \.\.\.; take them from 0 on",
    ),
    "every other second": ({"second": slice(0, None, 2)}, r"its second axis is 0, 2, 4"),
    "one hemisphere": ({"hemisphere": ["R"]}, "its hemisphere axis is R; keep both, L first"),
    "hemispheres the other way": ({"hemisphere": ["R", "L"]}, "its hemisphere axis is R, L"),
    "a subject twice": ({"subject": ["1", "1"]}, "it has subject 1 2 times"),
    "no subject axis": ({"subject": "1"}, r"its bold is by \(movie, second, hemisphere, vertex\), not by"),
}


def selected(store, selection, out):
    chosen = simdata.open(store).sel(selection)
    if chosen.bold.ndim < 5:  # xarray keeps the shards of an axis that is gone
        chosen = chosen.drop_encoding()
    chosen.to_zarr(out)
    return out


@pytest.mark.parametrize("selection", USED.values(), ids=USED)
def test_a_selection_is_a_store_for_everything(pair, tmp_path, selection):
    new = selected(pair / "s.zarr", selection, tmp_path / "new.zarr")
    chosen, dataset = xr.open_zarr(pair / "s.zarr").sel(selection), open_dataset(new)
    assert dataset.subjects == chosen.subject.values.tolist()
    assert dataset.complete.tolist() == (chosen.run_status.values == 1).tolist()
    assert (dataset.volumes <= chosen.sizes["second"]).all()
    clips = clip_split(dataset, [dataset.embedding("video_motion_energy")])
    windows = find_windows(dataset, clips, frames=3, lag=5)
    assert (windows["second"] + 3 <= chosen.sizes["second"]).all()
    info = call("info", new).output
    assert f"{chosen.sizes['subject']} (" in info
    assert f"{int((chosen.run_source != '').sum() + (chosen.film_source != '').sum())} files" in info
    reader = BoldReader(new, verify=True)
    for place in np.ndindex(*chosen.bold.shape[:2], 2):
        expected = chosen.bold.isel(subject=place[0], movie=place[1], hemisphere=place[2])
        read = reader.read_run(*place).astype(float)
        read[read == reader.fill] = np.nan
        np.testing.assert_array_equal(read / 16, expected)
    call("rechunk", new, tmp_path / "other.zarr", "--layout", "blocks")
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "other.zarr").bold, chosen.bold)


@pytest.mark.parametrize(("selection", "said"), PARTS.values(), ids=PARTS)
def test_what_goes_by_position_refuses_other_parts(pair, tmp_path, selection, said):
    new = selected(pair / "s.zarr", selection, tmp_path / "new.zarr")
    before = contents(new)
    with pytest.raises(UserError, match=said):
        open_dataset(new)
    with pytest.raises(UserError, match=said):
        call(
            "build", pair / "mini.yaml", "--source", pair / "bold", "--movies", pair / "movies", "--out", new
        )
    with pytest.raises(UserError, match=said):
        call("embed", new, "--movies", pair / "movies", "--encoder", "logmel,name=again")
    assert contents(new) == before
    if "subject" in selection and not isinstance(selection["subject"], list):
        with pytest.raises(UserError, match="select by lists or slices"):
            call("info", new)
        with pytest.raises(UserError, match="select by lists or slices"):
            call("rechunk", new, tmp_path / "out.zarr", "--layout", "blocks")
    else:
        assert "catalog" in call("info", new).output


def test_a_build_goes_on_with_a_selection_of_subjects(mine):
    selected(mine / "s.zarr", {"subject": ["2"]}, mine / "one.zarr")
    whole = contents(mine / "s.zarr")
    shutil.rmtree(mine / "s.zarr")
    (mine / "one.zarr").rename(mine / "s.zarr")
    assert "1 converted, 3 already there" in build(mine).output
    opened = xr.open_zarr(mine / "s.zarr")
    assert opened.subject.values.tolist() == ["2", "1"]
    shard = "bold/c/{}/{}/0/0/0"
    assert (mine / "s.zarr" / shard.format(1, 0)).read_bytes() == whole[shard.format(0, 0)]
    assert (mine / "s.zarr" / shard.format(0, 1)).read_bytes() == whole[shard.format(1, 1)]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"movie": ["B"]}, "has the movies B, its catalog has A, B"),
        ({"second": slice(0, 14)}, "has 15 s of runs of 40 s"),
    ],
)
def test_a_build_refuses_a_store_that_lacks_what_it_would_fill(mine, tmp_path, selection, said):
    new = selected(mine / "s.zarr", selection, tmp_path / "new.zarr")
    before = contents(new)
    with pytest.raises(UserError, match=said):
        call(
            "build", mine / "mini.yaml", "--source", mine / "bold", "--movies", mine / "movies", "--out", new
        )
    assert contents(new) == before


def test_embeddings_come_to_a_selection_of_movies(mine):
    new = selected(mine / "s.zarr", {"movie": ["B"]}, mine / "new.zarr")
    call("embed", new, "--movies", mine / "movies", "--encoder", "logmel,name=again")
    opened = xr.open_zarr(new)
    np.testing.assert_array_equal(opened.audio_again, opened.audio_logmel)


@pytest.mark.parametrize("consolidated", [True, False])
def test_variables_of_ones_own_stay(mine, consolidated):
    """xarray drops the root attributes when it adds them; a subject who joins has no value in them."""
    store = mine / "s.zarr"
    own = xr.Dataset(
        {
            "age": ("subject", [31.0, 28.0]),
            "sessions": ("subject", np.array([2, 4], "i2"), {"_FillValue": np.int16(-1)}),
            "heart_rate": (("movie", "subject", "second"), np.ones((2, 2, SECONDS), "f4")),
            "parcels": (("hemisphere", "vertex"), np.zeros((2, 40962), "i2")),
            "answer": ((), 42),
        },
        coords={"handedness": ("subject", np.array(["L", "R"], object))},
    )
    own.to_zarr(store, mode="a", consolidated=consolidated)
    assert "title" not in xr.open_zarr(store).attrs
    assert "parcels" in call("info", store).output
    assert open_dataset(store).subjects == ["1", "2"]
    write_dtseries(mine / "bold/3/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    assert "1 converted, 4 already there" in build(mine).output
    opened = xr.open_zarr(store)
    assert opened.subject.values.tolist() == ["1", "2", "3"]
    np.testing.assert_equal(opened.age.values, [31, 28, np.nan])
    np.testing.assert_equal(opened.sessions.values, [2, 4, np.nan])
    np.testing.assert_equal(opened.heart_rate.values[:, :, 0], [[1, 1, np.nan]] * 2)
    assert opened.handedness.values.tolist() == ["L", "R", ""]
    assert opened.answer == 42
    call("rechunk", store, mine / "out.zarr", "--layout", "blocks")
    np.testing.assert_equal(xr.open_zarr(mine / "out.zarr").heart_rate.values, opened.heart_rate.values)


def test_whole_numbers_of_ones_own_do_not_become_0(mine):
    store = mine / "s.zarr"
    xr.Dataset({"age": ("subject", [31, 28])}).to_zarr(store, mode="a")
    write_dtseries(mine / "bold/3/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    with pytest.raises(UserError, match="age: has whole numbers by subject and no value for what joins"):
        build(mine)
    assert xr.open_zarr(store).age.values.tolist() == [31, 28]
    xr.Dataset({"age": ("subject", [31.0, 28.0])}).to_zarr(mine / "float.zarr")
    shutil.rmtree(store / "age")
    xr.open_zarr(mine / "float.zarr").to_zarr(store, mode="a")
    assert "1 converted" in build(mine).output
    np.testing.assert_equal(xr.open_zarr(store).age.values, [31, 28, np.nan])


@pytest.mark.parametrize("labels", [np.array(["1", "2"]), np.array([1, 2])], ids=["fixed length", "numbers"])
def test_names_that_would_be_cut_short_are_refused(mine, labels):
    """Text of a fixed length would keep the first letters of a longer name."""
    simdata.open(mine / "s.zarr").assign_coords(subject=labels).to_zarr(mine / "new.zarr")
    shutil.rmtree(mine / "s.zarr")
    (mine / "new.zarr").rename(mine / "s.zarr")
    write_dtseries(mine / "bold/103/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    with pytest.raises(UserError, match=r"its subject is .* no subject can join"):
        build(mine)
    assert len(xr.open_zarr(mine / "s.zarr").subject) == 2


def test_dask_chooses_chunks_where_it_can(pair):
    """It cannot tell the size of text, so not for a whole dataset."""
    opened = xr.open_zarr(pair / "s.zarr", chunks={"second": "auto"})
    assert opened.bold.chunks[2] == (SECONDS,)
    alone = simdata.open(pair / "s.zarr").bold.reset_coords(drop=True).chunk("auto")
    np.testing.assert_array_equal(alone, opened.bold)


def test_regions_and_appended_seconds_of_ones_own(mine):
    """zarr's other ways of writing: into a part of a variable, and along an axis."""
    store = mine / "s.zarr"
    opened = simdata.open(store)
    own = (
        xr.zeros_like(opened.bold_mean)
        .reset_coords(drop=True)
        .drop_vars(["subject", "movie", "hemisphere"])
        .to_dataset(name="effect")
    )
    own.to_zarr(store, mode="a", compute=False)
    one = xr.ones_like(own.isel(subject=[1]))
    one.to_zarr(store, region={"subject": slice(1, 2)})
    again = simdata.open(store)
    assert again.effect.isnull().all(("movie", "hemisphere", "vertex")).values.tolist() == [True, False]
    events = xr.Dataset({"event": ("press", np.arange(3))})
    events.to_zarr(store, mode="a")
    events.to_zarr(store, append_dim="press")
    assert simdata.open(store).event.values.tolist() == [0, 1, 2, 0, 1, 2]
    assert "0 converted, 4 already there" in build(mine).output


def test_usual_work_with_the_dataset(pair):
    opened = simdata.open(pair / "s.zarr")
    run, clip = opened.bold.sel(subject="1", movie="A"), opened.segment.sel(movie="A") == 1
    assert run.where(clip, drop=True).second.values.tolist() == [*range(2, 16)]
    loaded = opened.load()
    assert loaded.bold.attrs["units"] == "1"
    shifted = loaded.bold - loaded.bold.mean("second")
    assert set(shifted.coords) == set(loaded.bold.mean("second").coords) | {"second"}
    assert opened.run_status.to_dataframe().shape[0] == 4
    assert len(loaded[["segment", "scene_split", VARIABLE]].to_dataframe()) == 2 * SECONDS
    both = xr.concat([opened.sel(subject=["1"]), opened.sel(subject=["2"])], "subject", data_vars="minimal")
    xr.testing.assert_equal(both.load(), loaded)
    assert both.simdata.metadata.catalog_name == "mini"


BROKEN = {
    "gone": (
        lambda group: group.__delitem__(VARIABLE),
        "has no variable 'simdata_metadata', whose attributes say",
    ),
    "no version": (
        lambda group: _without(group, "format_version"),
        "has lost its attribute 'format_version'",
    ),
    "no lag": (lambda group: _without(group, "stimulus_lag"), "has lost its attribute 'stimulus_lag'"),
    "old": (
        lambda group: group[VARIABLE].attrs.update(format_version="1.0"),
        "has format version 1.0, and this",
    ),
    "newer": (lambda group: group[VARIABLE].attrs.update(format_version="3.1"), "has format version 3.1"),
    "number": (lambda group: group[VARIABLE].attrs.update(format_version=2), "has format_version = 2;"),
    "lag": (lambda group: group[VARIABLE].attrs.update(stimulus_lag="soon"), "has stimulus_lag = 'soon'"),
    "cut": (
        lambda group: group[VARIABLE].attrs.update(recipe='{"encoding": '),
        "attribute 'recipe' is damaged",
    ),
    "list": (lambda group: group[VARIABLE].attrs.update(recipe="[1]"), "attribute 'recipe' is damaged"),
    "record": (lambda group: group["run_source"].__setitem__((0, 0), "{"), "run_source of 1/A is damaged"),
    "records": (lambda group: group.__delitem__("run_source"), "has no variable 'run_source'"),
}


def _without(group, name):
    del group[VARIABLE].attrs[name]


@pytest.mark.parametrize(("harm", "said"), BROKEN.values(), ids=BROKEN)
def test_metadata_that_are_damaged_are_named(mine, harm, said):
    store = mine / "s.zarr"
    harm(zarr.open_group(store, mode="r+", use_consolidated=False))
    zarr.consolidate_metadata(store)
    with pytest.raises(UserError, match=said):
        call("info", store)
    if "stimulus_lag" in said or "format_version" in said:
        with pytest.raises(UserError, match=said):
            open_dataset(store)


def test_a_store_of_the_old_format_is_told(tmp_path):
    xr.Dataset(attrs={"format_version": "1.0", "sources": {}}).to_zarr(tmp_path / "old.zarr", zarr_format=3)
    for look in (simdata.open, open_dataset):
        with pytest.raises(
            UserError, match=r"has format version 1\.0, and this simdata reads 2\.1: build the store"
        ):
            look(tmp_path / "old.zarr")


def test_what_xarray_cannot_open_is_a_message(mine):
    store = mine / "s.zarr"
    xr.Dataset({"pulse": ("second", np.zeros(3))}).to_zarr(store, mode="a")
    with pytest.raises(
        UserError, match="cannot open it: conflicting sizes for dimension 'second': length 3 on"
    ):
        call("info", store)
    shutil.rmtree(store / "pulse")
    (store / "zarr.json").write_text("{")
    for look in (simdata.open, open_dataset):
        with pytest.raises(UserError, match=r"s\.zarr: xarray cannot open it"):
            look(store)


def test_what_comes_back_from_netcdf_is_read_and_laid_out_right(pair, tmp_path):
    """zarr's fill value is 0 there, and chunks are others: no run may become 0, none be taken away."""
    whole = simdata.open(pair / "s.zarr")
    whole.to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    new = tmp_path / "new.zarr"
    xr.open_dataset(tmp_path / "whole.nc", engine="h5netcdf").to_zarr(new)
    for place in np.ndindex(2, 2, 2):
        expected, found = (BoldReader(store).read_run(*place) for store in (pair / "s.zarr", new))
        np.testing.assert_array_equal(found, expected)
    assert BoldReader(new).fill == -128
    assert open_dataset(new).complete.tolist() == [[True, False], [False, True]]
    call("rechunk", new, tmp_path / "seconds.zarr", "--layout", "seconds")
    again = simdata.open(tmp_path / "seconds.zarr")
    np.testing.assert_array_equal(again.bold, whole.bold)
    before = contents(tmp_path / "seconds.zarr")
    out = tmp_path / "seconds.zarr"
    with pytest.raises(UserError, match=r"its \w+ is in chunks of .* as other software chose them"):
        call(
            "build", pair / "mini.yaml", "--source", pair / "bold", "--movies", pair / "movies", "--out", out
        )
    with pytest.raises(UserError, match=r"its \w+ is in chunks of .* as other software chose them"):
        call("embed", out, "--movies", pair / "movies", "--encoder", "logmel,name=again")
    assert contents(out) == before


def test_movies_that_join_have_no_value_in_ones_own_variables(mine):
    """Whole numbers would be 0."""
    store = mine / "s.zarr"
    own = xr.Dataset({"year": ("movie", [1999, 2004]), "loud": (("movie", "second"), np.ones((2, 40), "f4"))})
    own["loud"] = own.loud.isel(second=slice(0, xr.open_zarr(store).sizes["second"]))
    own.to_zarr(store, mode="a")
    catalog = copy.deepcopy(CATALOG)
    catalog["movies"].append({**catalog["movies"][1], "name": "C", "video": "C.mp4", "segments": []})
    (mine / "mini.yaml").write_text(yaml.safe_dump(catalog))
    write_film(mine / "movies/C.mp4", seconds=VOLUMES["B"], rate=12)
    with pytest.raises(UserError, match="year: has whole numbers by movie and no value for what joins"):
        build(mine)
    assert xr.open_zarr(store).year.values.tolist() == [1999, 2004]
    shutil.rmtree(store / "year")
    own[["year"]].to_zarr(store, mode="a", encoding={"year": {"_FillValue": -1}})
    build(mine)
    np.testing.assert_equal(xr.open_zarr(store).year.values, [1999, 2004, np.nan])
    assert np.isnan(xr.open_zarr(store).loud.values[2]).all()
