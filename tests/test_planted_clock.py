"""A film planted in BOLD is found at its lag, whatever TR and onset are: real files, and stores of them."""

import numpy as np
import pytest
import xarray as xr
import yaml
from cifti_files import write_dtseries
from click.testing import CliRunner

from simdata.cli import cli
from simdata.release.catalog import Movie
from simdata.synthetic.film import write_film
from simdata.synthetic.grayordinates import brain_models
from simdata.synthetic.latents import features, scenes
from simdata.synthetic.response import OVERSAMPLING, haemodynamic_response, make_subject
from simdata.synthetic.stimuli import footage

SECONDS, ONSET = 300, 7.3
TRS = {"10": 1.0, "11": 0.8, "12": 1.49, "13": 2.0}  # subject -> TR, s; the first begins with the film
SEGMENTS = [{"name": "clip", "start": 0, "stop": SECONDS}]
LAGS = np.arange(14)  # s
TRAINED = 200  # s of the film; what follows tests
RIDGE = 10.0

pytestmark = pytest.mark.slow


def response(shown):
    """(features, steps of 1 / OVERSAMPLING s) of BOLD, of s.d. 1, by the film's clock."""
    times = np.arange(SECONDS * OVERSAMPLING) / OVERSAMPLING
    groups = features(shown, times)
    driven = np.concatenate([groups["video"], groups["audio"]])
    found = np.apply_along_axis(np.convolve, 1, driven, haemodynamic_response())[:, : len(times)]
    return found / found.std(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A film, and a scan of it at each TR, in white noise."""
    folder = tmp_path_factory.mktemp("planted")
    movie = Movie.model_validate(
        {"name": "FILM", "seconds": SECONDS, "video": "FILM.mp4", "segments": SEGMENTS}
    )
    shown = scenes(movie, 0)
    (folder / "movies").mkdir()
    write_film(folder / "movies/FILM.mp4", footage(shown, SECONDS), SECONDS)
    subject, models, driven = make_subject("32k", 0, 1), brain_models("32k"), response(shown)
    steps = np.arange(driven.shape[1]) / OVERSAMPLING
    for name, tr in TRS.items():
        onset = 0.0 if name == "10" else ONSET
        film = (np.arange(int((SECONDS + onset) / tr)) + 0.5) * tr - onset
        at = np.array([np.interp(film, steps, one, left=0) for one in driven], np.float32)
        data = np.random.default_rng(int(name)).standard_normal((len(film), len(models)), np.float32)
        data[:, : len(subject.maps)] += (subject.maps @ at).T
        path = folder / f"bold/{name}/FILM.dtseries.nii"
        write_dtseries(path, 10_000 + 150 * data, step=tr, models=models)
    return folder


def store_of(folder, name, plays):
    """The store that a catalog with these plays makes of all scans."""
    catalog = {
        "name": name,
        "title": "Planted",
        "stimulus_lag": 6,
        "bold": ["{subject}/{movie}.dtseries.nii"],
        "subject_pattern": "[0-9]+",
        "plays": plays,
        "movies": [{"name": "FILM", "seconds": SECONDS, "video": "FILM.mp4", "segments": SEGMENTS}],
    }
    path, out = folder / f"{name}.yaml", folder / f"{name}.zarr"
    path.write_text(yaml.safe_dump(catalog))
    places = ["--source", folder / "bold", "--movies", folder / "movies", "--out", out]
    command = ["build", path, *places, "--encoder", "logmel", "--encoding", "float32", "--no-checksum"]
    CliRunner().invoke(cli, [str(word) for word in command], catch_exceptions=False)
    return xr.open_zarr(out)


@pytest.fixture(scope="module")
def stores(sources):
    rules = {"whole": {"onset": 0.0}, "right": {"onset": ONSET}, "ignored": "start"}
    return {name: store_of(sources, name, plays) for name, plays in rules.items()}


def found(store, subject):
    """(lags,) how well BOLD of the rest of the film follows from its sound, so many s before: mean r.

    By ridge regression onto the vertices of superior temporal cortex that respond best in training.
    """
    run = store.run.sel(subject=subject).isel(movie=0).values
    bold = store.bold.sel(subject=subject, hemisphere="L").isel(movie=0).values
    sound = store.audio_logmel.isel(movie=0).values
    sound = (sound - np.nanmean(sound, axis=0)) / (np.nanstd(sound, axis=0) + 1e-6)
    scores = []
    for lag in LAGS:
        row = np.flatnonzero((run > 0) & (np.arange(len(run)) >= lag))
        row = row[np.isfinite(sound[row - lag]).all(axis=1)]
        x, y = sound[row - lag], bold[row]
        y = y[:, np.isfinite(y).all(axis=0)]
        train, test = row < TRAINED, row >= TRAINED + 20
        gram = x[train].T @ x[train] + RIDGE * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, x[train].T @ y[train])
        best = np.argsort(-correlations(x[train] @ weights, y[train]))[:200]
        scores.append(correlations(x[test] @ weights[:, best], y[test][:, best]).mean())
    return np.array(scores)


def correlations(one, other):
    one, other = (a - a.mean(axis=0) for a in (one, other))
    return (one * other).sum(axis=0) / np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))


@pytest.fixture(scope="module")
def reference(stores):
    """Of a volume a second from the film's beginning."""
    scores = found(stores["whole"], "10")
    assert scores.max() > 0.3
    return scores


@pytest.mark.parametrize("subject", list(TRS)[1:])
def test_the_signal_is_at_its_lag_and_as_strong(stores, reference, subject):
    scores = found(stores["right"], subject)
    assert abs(int(scores.argmax()) - int(reference.argmax())) <= 1
    assert scores.max() > 0.6 * reference.max()


@pytest.mark.parametrize("subject", list(TRS)[1:])
def test_it_is_at_chance_there_with_the_onset_ignored(stores, reference, subject):
    scores = found(stores["ignored"], subject)
    assert abs(scores[reference.argmax()]) < 0.25 * reference.max()
