"""The best and worst retrieved clips against the table of tested windows and embeddings worked out anew."""

import matplotlib.image
import numpy as np
import pytest
import torch
from command_line import call

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_fmri
from simtrain.training.trained_model import load_learner

QUICK = {"experiment": "new-subjects", "device": "cpu", "save": False}


@pytest.fixture(scope="module")
def found(trained, store):
    return simtrain.retrieve(trained, store, pool="movie", draws=3, clips=60, best_and_worst=3, **QUICK)


def _shares(found):
    windows = found.tables["windows"].query("direction == 'fmri->video'")
    windows = windows.assign(share=(windows["rank"] - 1) / (windows["candidates"] - 1))
    return windows.groupby(["movie", "clip_second"]).share.mean()


def test_they_have_the_least_and_the_largest_mean_rank_and_lie_apart(found):
    shares, ranked = _shares(found), found.ranked["new-subjects"]
    for which, extreme, others in (("best", min, np.greater_equal), ("worst", max, np.less_equal)):
        own = [
            (("M1", "M2")[one.clip.movie], one.clip.second, one.share) for one in ranked if one.which == which
        ]
        assert len(own) == 3
        assert own[0][2] == pytest.approx(extreme(shares))
        for movie, second, share in own:
            assert share == pytest.approx(shares[movie, second])
        gaps = [
            abs(one[1] - other[1])
            for number, one in enumerate(own)
            for other in own[:number]
            if one[0] == other[0]
        ]
        assert all(gap >= 3 for gap in gaps)
        # Whatever is better than the last one lies near one that was taken before it.
        for (movie, second), share in shares.items():
            if not others(share, own[-1][2]):
                assert any(one[0] == movie and abs(one[1] - second) < 3 for one in own)
    assert shares.max() > shares.min()


def test_what_is_retrieved_is_most_similar_of_the_movie(found, trained, store):
    dataset = open_dataset(store)
    learner = load_learner(trained, dataset, torch.device("cpu"))
    windows = Windows.of(dataset, trained.config).experiments("new-subjects", 6)["new-subjects"]
    tested = found.results["new-subjects"].tested["fmri->video"].ravel()
    for one in found.ranked["new-subjects"]:
        own = tested[(tested["movie"] == one.clip.movie) & (tested["clip"] == one.clip.second)]
        assert one.windows == len(own)
        query = embed_fmri(learner, BoldReader(store), own, 3).mean(axis=0)
        seconds = np.unique(windows["clip"][windows["movie"] == one.clip.movie])
        seconds = seconds[(abs(seconds - one.clip.second) >= 3) | (seconds == one.clip.second)]
        with torch.no_grad():
            clips = learner.embed_clips(np.full(len(seconds), one.clip.movie), seconds)["video"].numpy()
        similarity = dict(zip(seconds.tolist(), clips @ query, strict=True))
        first = one.retrieved[0]
        assert first.second == max(similarity, key=similarity.get)
        assert first.similarity == pytest.approx(similarity[first.second], abs=1e-5)
        assert np.all(np.diff([clip.similarity for clip in one.retrieved]) <= 0)
        # A pool of the whole movie: what ranks first in all windows is what is retrieved, if it is one.
        if one.share == 0 and one.windows == 1:
            assert first.second == one.clip.second


def test_the_command_writes_pictures_and_a_table_and_takes_them_away(trained, store, tmp_path):
    words = [
        "--experiment",
        "new-subjects",
        "--draws",
        2,
        "--clips",
        20,
        "--device",
        "cpu",
        "--out",
        tmp_path,
    ]
    call("retrieve", trained.path, store, *words, "--best-and-worst", 2)
    folder = tmp_path / "retrieval"
    for which in ("best", "worst"):
        picture = matplotlib.image.imread(folder / f"{which}-new-subjects.png")
        assert picture[..., :3].std() > 0.05
    lines = (folder / "best_and_worst.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 5
    assert lines[0].startswith("experiment,which,movie,clip,clip_second,rank,candidates")
    call("retrieve", trained.path, store, *words)
    assert not {path.name for path in folder.iterdir()} & {"best_and_worst.csv", "best-new-subjects.png"}


@pytest.mark.parametrize(
    "own", [{"average_subjects": True}, {"hemispheres": "each"}, {"negatives": "cross-movie"}]
)
def test_other_protocols_have_theirs(trained, store, own):
    found = simtrain.retrieve(trained, store, pool=8, draws=2, clips=20, best_and_worst=1, **own, **QUICK)
    best, worst = found.ranked["new-subjects"]
    assert best.share <= worst.share
    assert best.subjects == ("mean",) or set(best.subjects) <= {"s5", "s6"}
    table = found.best_and_worst
    assert table.which.tolist() == ["best"] * 5 + ["worst"] * 5
    if "negatives" in own:
        assert all(
            clip.movie != best.clip.movie or clip.second == best.clip.second for clip in best.retrieved
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"average_windows": 2}, "`best_and_worst` with `average_windows`"),
        ({"shuffle": True}, "`best_and_worst` with `shuffle`"),
        ({"best_and_worst": -1}, "best_and_worst: -1 is less than 0"),
    ],
)
def test_what_has_no_picture_is_refused(trained, store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.retrieve(trained, store, **{"best_and_worst": 1, **QUICK, **wrong})
