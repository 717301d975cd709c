"""simtrain.adapt: a run for a new subject, what it is tested on, and what is refused."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from command_line import call
from examples import must_run
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from training_runs import TINY, fit_run

import simtrain
from simdata.common.errors import UserError
from simdata.surface.meshes import icosphere
from simtrain.training import adapted as records
from simtrain.training import checkpoint
from simtrain.training.adapted import Adaptation

FEW = {"pool": 4, "clips": 10, "draws": 2, "device": "cpu", "save": False}
# A film clip of 39 s is for tests (tests/simtrain/conftest.py), 40, 11 and 13 s train.
SPLITS = {"scenes": {"clips": {"test": ["gamma"]}}}
FILM = {"M1": [[2, 41], [44, 54]], "M2": [[42, 50]]}


@pytest.fixture(scope="module")
def base(store, tmp_path_factory):
    """A run with as good as random weights, but for its files a trained one."""
    out = tmp_path_factory.mktemp("base") / "run"
    few = [*TINY, "train.steps=2", "train.validate_every=2"]
    return simtrain.fit(store, out, "demo", overrides=few, splits=SPLITS, device="cpu", progress=False)


@pytest.fixture(scope="module")
def adapted(base, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapted") / "run"
    return simtrain.adapt(base, store, "s5", out, minutes=1, device="cpu")


def same_files(one, other):
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_the_example_runs(base, store, tmp_path):
    must_run(simtrain.adapt, run=base, store=store, out=tmp_path / "adapted")


def test_it_says_what_it_was_adapted_with(adapted, store):
    found = adapted.adaptation
    assert (found.subject, found.seconds, found.film) == ("s5", 60, FILM)
    assert found.others == ["s1", "s2", "s3"]
    assert "adapted to s5 with 1 minutes" in repr(adapted)
    assert "adapted to s5" in simtrain.retrieve(adapted, store, **FEW).weights.note
    assert simtrain.load_run(adapted.path).adaptation == found


def test_the_command_gives_the_same_files_and_does_them_once(adapted, base, store, tmp_path):
    told = ("adapt", base.path, store, "--subject", "s5", "--minutes", "1", "--device", "cpu")
    out = tmp_path / "told"
    assert "test it in new scenes" in call(*told, "--out", out)
    assert same_files(out, adapted.path)
    before = (out / records.WEIGHTS).stat().st_mtime_ns
    call(*told, "--out", out)
    assert (out / records.WEIGHTS).stat().st_mtime_ns == before


def test_the_subject_alone_is_tested_and_in_new_scenes(adapted, store, tmp_path):
    found = simtrain.retrieve(adapted, store, **FEW)
    assert list(found.results) == ["both"]
    assert found.results["both"].subjects == 1
    for experiment in ("new-subjects", "new-scenes", "seen"):
        with pytest.raises(UserError, match=r"adapted to s5|no windows"):
            simtrain.retrieve(adapted, store, experiment=experiment, **FEW)
    for subjects in (["s6"], ["s5", "s1"]):
        with pytest.raises(UserError, match="the run is adapted to s5, and to nobody else"):
            simtrain.retrieve(adapted, store, subjects=subjects, **FEW)
        with pytest.raises(UserError, match="the run is adapted to s5"):
            simtrain.predict(adapted, store, tmp_path / "others.zarr", subjects=subjects)
    embedded = simtrain.predict(adapted, store, tmp_path / "own.zarr", device="cpu")
    assert embedded.subject.values.tolist() == ["s5"]
    assert embedded.attrs["adaptation"] == "adapted to s5 with 1 minutes"
    few = {"windows": 2, "method": "gradient", "device": "cpu", "out": tmp_path / "maps"}
    maps = simtrain.saliency(adapted, store, experiment="both", randomise=True, **few)
    assert maps.maps.subject.values.tolist() == ["s5"]
    assert "adapted to s5" in maps.record["adaptation"]
    with pytest.raises(UserError, match="`experiment` both"):
        simtrain.saliency(adapted, store, **few)


def test_other_scenes_cannot_become_tests(adapted, store):
    everything = {"scenes": {"clips": {"test": ["alpha", "gamma"]}}}
    with pytest.raises(UserError, match="other clips or sets of scenes"):
        simtrain.retrieve(adapted, store, splits=everything, **FEW)


def test_movies_of_the_adaptation_count_as_seen(adapted, store):
    """Also those that the training had not yet."""
    run = simtrain.api.arguments.open_run(adapted)
    assert run.seen(simtrain.open_dataset(store)).scenes.keys() == {"M1", "M2"}
    assert (
        Adaptation.read(adapted.path).scenes == run.divided(simtrain.open_dataset(store)).identity["scenes"]
    )


@pytest.mark.slow
def test_nothing_of_test_scenes_or_of_other_new_subjects_is_looked_at(adapted, base, store, tmp_path):
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    bold, dataset = zarr.open_array(other, path="bold", mode="r+"), simtrain.open_dataset(store)
    for movie in range(2):
        film = FILM[dataset.movies[movie]]
        answered = np.concatenate([np.arange(first, last + 1) for first, last in film]) + dataset.lag
        for second in np.setdiff1d(np.arange(bold.shape[2]), answered):
            bold[4, movie, int(second)] = 7
    for subject in (3, 5):
        bold[subject] = 7
    again = simtrain.adapt(base, other, "s5", tmp_path / "again", minutes=1, device="cpu")
    assert same_files(again.path, adapted.path)


def test_a_planted_warp_is_undone(trained, store, tmp_path):
    """The subject's cortex answers 20 mm from where that of the others does, and so is read less well."""
    warped, points = tmp_path / "warped.zarr", icosphere(6)[0]
    shutil.copytree(store, warped)
    turned = Rotation.from_rotvec([0, 0, 0.2]).apply(points.copy())
    where = cKDTree(points).query(turned)[1]
    bold = zarr.open_array(warped, path="bold", mode="r+")
    own = bold[4]
    moved = np.where(own[..., where] == -128, 0, own[..., where])  # of the medial wall, nothing
    bold[4] = np.where(own == -128, own, moved)
    as_it_was = simtrain.adapt(trained, store, "s5", tmp_path / "plain", device="cpu").adaptation
    found = simtrain.adapt(trained, warped, "s5", tmp_path / "moved", device="cpu").adaptation
    assert found.losses["before"] > as_it_was.losses["before"] + 0.1
    assert found.penalty is not None
    # Who needs no alignment gains next to nothing by one.
    assert as_it_was.losses["before"] - as_it_was.losses["after"] < 0.01
    gained = found.losses["before"] - found.losses["after"]
    assert gained > 0.3 * (found.losses["before"] - as_it_was.losses["before"])


def test_the_model_stays(adapted, base):
    one, other = (checkpoint.load_tested(checkpoint.weights_file(run.path)) for run in (adapted, base))
    assert one["learner"].keys() == other["learner"].keys()
    assert all(one["learner"][name].equal(other["learner"][name]) for name in one["learner"])


@pytest.mark.slow
def test_what_stops_it_leaves_nothing(base, store, tmp_path, monkeypatch):
    def stopped(self, run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Adaptation, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            simtrain.adapt(base, store, "s6", tmp_path / "out", minutes=0.5, device="cpu")
    assert not (tmp_path / "out").exists()
    simtrain.adapt(base, store, "s6", tmp_path / "out", minutes=0.5, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_makes_no_sense_is_refused(adapted, base, store, tmp_path):
    out = tmp_path / "out"
    for subject, minutes, message in (
        ("s1", 1, "was trained on them"),
        ("nobody", 1, "has no subject nobody"),
        ("s5", 2, r"s5 has 1.07 minutes in .* in training scenes"),
        ("s5", 0.3, "too few to choose an alignment by"),
    ):
        with pytest.raises(UserError, match=message):
            simtrain.adapt(base, store, subject, out, minutes=minutes)
    assert not out.exists()
    with pytest.raises(UserError, match="give the run that it was made of"):
        simtrain.adapt(adapted, store, "s5", out)
    with pytest.raises(UserError, match=r"not of what is asked for \(subject"):
        simtrain.adapt(base, store, "s6", adapted.path, minutes=1)
    with pytest.raises(UserError, match="give `out` a new or empty folder"):
        simtrain.adapt(base, store, "s5", tmp_path.parent, minutes=1)
    with pytest.raises(UserError, match="is not trained further"):
        simtrain.fit(store, adapted.path, progress=False)


def test_a_run_without_weights_is_refused(store, tmp_path):
    run, _ = fit_run(store, tmp_path / "run", "train.steps=1")
    (run.path / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        simtrain.adapt(run, store, "s5", tmp_path / "out")


def test_a_store_without_the_subject_is_refused(adapted, store, tmp_path):
    with xr.open_zarr(store) as whole:
        whole.isel(subject=[0, 5]).drop_encoding().to_zarr(tmp_path / "part.zarr")
    with pytest.raises(UserError, match="has no subject s5, to whom the run is adapted"):
        simtrain.retrieve(adapted, tmp_path / "part.zarr", **FEW)
