"""Stores that are built from runs of parcels."""

import numpy as np
import pytest
import xarray as xr
import yaml
from film_files import write_film
from parcel_files import parcel_noise, write_hdf5, write_ptseries
from store_files import call, contents

import simdata
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.store.provenance import records

VOLUMES = {"A": 40, "B": 20}
PARCELS = 12


def catalog_of(pattern, **keys):
    movies = [{"name": name, "seconds": volumes, "video": f"{name}.mp4"} for name, volumes in VOLUMES.items()]
    return {
        "name": "parcels",
        "title": "Parcels",
        "stimulus_lag": 5,
        "bold": [pattern],
        "subject_pattern": "[0-9]+",
        "movies": movies,
        **keys,
    }


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    for name, seconds in VOLUMES.items():
        write_film(folder / f"{name}.mp4", seconds=seconds)
    return folder


def build(folder, movies, *options):
    places = ["--source", folder / "bold", "--movies", movies, "--out", folder / "s.zarr"]
    return call("build", folder / "c.yaml", *places, "--encoder", "logmel", "--encoding", "float32", *options)


@pytest.fixture
def ptseries(tmp_path):
    """Two subjects; the second has no B."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(catalog_of("{subject}/{movie}.ptseries.nii")))
    for seed, (subject, movie) in enumerate((("1", "A"), ("1", "B"), ("2", "A"))):
        values = parcel_noise(VOLUMES[movie], PARCELS, seed)
        write_ptseries(tmp_path / f"bold/{subject}/{movie}.ptseries.nii", values)
    return tmp_path


def test_a_store_of_ptseries_holds_their_z_scores(ptseries, movies):
    build(ptseries, movies)
    store = simdata.open(ptseries / "s.zarr")
    assert store.bold.dims == ("subject", "movie", "second", "parcel")
    assert store.parcel.values.tolist()[:2] == ["L0", "L1"]
    assert store.parcel_hemisphere.values.tolist() == [*"LLLLLLRRRRRR"]
    assert "vertex" not in store.dims
    assert store.cortex.values.all()
    for seed, (subject, movie) in enumerate((("1", "A"), ("1", "B"), ("2", "A"))):
        values = parcel_noise(VOLUMES[movie], PARCELS, seed).astype(float)
        found = store.sel(subject=subject, movie=movie)
        z = (values - values.mean(axis=0)) / values.std(axis=0)
        np.testing.assert_allclose(found.bold.values[: len(z)], z, atol=1e-4)
        scanned = store.simdata.scanner_units().sel(subject=subject, movie=movie).values[: len(z)]
        np.testing.assert_allclose(scanned, values, rtol=1e-5)
    assert np.isnan(store.bold.sel(subject="2", movie="B").values).all()
    assert BoldReader(ptseries / "s.zarr").shape == (2, 2, 40, 1, PARCELS)
    assert "12 (6 L, 6 R)" in call("info", ptseries / "s.zarr").output
    before = contents(ptseries / "s.zarr")
    assert "0 converted" in build(ptseries, movies).output
    assert contents(ptseries / "s.zarr") == before


def test_a_build_of_parcels_goes_on_with_new_subjects_and_refuses_others(ptseries, movies):
    build(ptseries, movies)
    write_ptseries(ptseries / "bold/3/B.ptseries.nii", parcel_noise(20, PARCELS, 9))
    build(ptseries, movies)
    assert simdata.open(ptseries / "s.zarr").subject.values.tolist() == ["1", "2", "3"]
    write_ptseries(ptseries / "bold/4/B.ptseries.nii", parcel_noise(20, PARCELS - 2, 9))
    with pytest.raises(UserError, match="has other parcels than the store: 10 parcels in place of 12"):
        build(ptseries, movies)


def test_a_parcel_that_never_varies_has_no_data(ptseries, movies):
    values = parcel_noise(20, PARCELS, 1)
    values[:, 4] = 7
    write_ptseries(ptseries / "bold/1/B.ptseries.nii", values)
    build(ptseries, movies)
    store = simdata.open(ptseries / "s.zarr")
    assert np.isnan(store.bold.sel(subject="1", movie="B", parcel="L4").values).all()
    assert np.isnan(store.bold_mean.sel(subject="1", movie="B", parcel="L4"))
    assert records(store, ptseries / "s.zarr")["1/B"]["constant_vertices"] == 1


def test_keys_of_an_hdf5_file_are_runs(tmp_path, movies):
    """The layout of Algonauts 2025: one file a subject, keys with a session that differs between subjects."""
    pattern = "sub-{subject}/func/sub-{subject}_task-friends_bold.h5::ses-{session}_task-{movie}"
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(catalog_of(pattern, tr=1.49)))
    lengths = {"A": 28, "B": 14}  # volumes of 1.49 s: 41.7 and 20.9 s
    runs = {("01", "A"): 0, ("01", "B"): 1, ("02", "A"): 2}
    for subject in ("01", "02"):
        arrays = {
            f"ses-00{seed}_task-{movie}": parcel_noise(lengths[movie] - seed // 2, PARCELS, seed)
            for (of, movie), seed in runs.items()
            if of == subject
        }
        write_hdf5(tmp_path / f"bold/sub-{subject}/func/sub-{subject}_task-friends_bold.h5", arrays)
    result = build(tmp_path, movies)
    assert "same content" not in result.output
    store = simdata.open(tmp_path / "s.zarr")
    assert store.subject.values.tolist() == ["01", "02"]
    assert store.run_status.values.tolist() == [[1, 1], [1, 0]]
    assert store.parcel.values.tolist() == [str(number) for number in range(1, 13)]
    assert int(store.reach.sel(movie="A")) == 6  # a row is made of four volumes of 1.49 s
    assert "0 converted" in build(tmp_path, movies).output
    assert "not taken" not in call("info", tmp_path / "s.zarr").output


def test_vertices_and_parcels_are_two_stores(ptseries, movies, built):
    build(ptseries, movies)
    (ptseries / "c.yaml").write_text(
        yaml.safe_dump(catalog_of("{subject}/{movie}.dtseries.nii") | {"name": "parcels"})
    )
    dtseries = built / "bold/1/A.dtseries.nii"
    (ptseries / "bold/1/A.dtseries.nii").hardlink_to(dtseries)
    with pytest.raises(UserError, match="has vertices, and the store's other runs have parcels"):
        build(ptseries, movies)


def test_plain_xarray_reads_it(ptseries, movies):
    build(ptseries, movies)
    with xr.open_zarr(ptseries / "s.zarr", chunks=None) as store:
        assert store.bold.sel(subject="1", movie="A", parcel="R0").shape == (40,)
