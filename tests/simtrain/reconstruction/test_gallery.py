import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from simdata.common.errors import UserError
from simtrain.reconstruction.gallery import Clips, candidates, find_gallery, groups, look_up
from simtrain.reconstruction.thumbnails import Thumbnails

# Film clips by movie; clip 3 is shown in two movies.
SEGMENT = np.array([[1] * 12 + [2] * 8 + [3] * 10, [4] * 15 + [3] * 10 + [0] * 5, [5] * 30], np.int8)


def clips_at(places):
    movie, clip = np.array(sorted(places)).reshape(-1, 2).T
    vectors = np.zeros((len(movie), 2), np.float32)
    return Clips(
        movie, clip, SEGMENT[movie, clip], vectors, Thumbnails(np.zeros((len(movie), 1, 1, 3), "u1"))
    )


PLACES = st.tuples(st.integers(0, 2), st.integers(0, 24))


@given(
    st.sets(PLACES, min_size=1),
    st.sets(PLACES, min_size=1),
    st.sampled_from(["movie", "scene"]),
    st.integers(1, 9),
)
def test_no_gallery_has_anything_of_its_targets(targets, gallery, exclude, apart):
    targets, gallery = clips_at(targets), clips_at(gallery)
    found = groups(targets, exclude)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(targets)))
    for rows in found:
        group = targets[rows]
        assert len(set(group.movie if exclude == "movie" else group.scene)) == 1

        def allowed(i, group=group):
            same_scene = gallery.scene[i] in group.scene
            same_movie = gallery.movie[i] in group.movie
            near = any(
                gallery.movie[i] == m and abs(gallery.clip[i] - c) < apart
                for m, c in zip(group.movie, group.clip, strict=True)
            )
            return not (same_scene or near or (exclude == "movie" and same_movie))

        expected = [i for i in range(len(gallery)) if allowed(i)]
        if not expected:
            with pytest.raises(UserError, match=f"gallery is empty without the target's {exclude}"):
                candidates(gallery, group, exclude, apart)
            continue
        assert candidates(gallery, group, exclude, apart).tolist() == expected


@given(st.integers(1, 12), st.integers(0, 99))
def test_the_lookup_equals_a_sort_and_scipys_softmax(neighbours, seed):
    rng = np.random.default_rng(seed)
    queries, vectors = (rng.standard_normal((count, 4)).astype("f4") for count in (5, 9))
    index, weight = look_up(queries, vectors, neighbours, 0.2)
    similarity = queries.astype(float) @ vectors.T
    expected = np.argsort(-similarity, axis=1)[:, :neighbours]
    np.testing.assert_array_equal(index, expected)
    nearest = np.take_along_axis(similarity, expected, axis=1)
    np.testing.assert_allclose(weight, softmax(nearest / 0.2, axis=1), atol=1e-5)


def test_the_gallery_is_of_training_scenes_or_of_all_that_are_in_a_set():
    clips = np.array([[0, 1, 3, 2], [1, 0, 0, 3]])
    np.testing.assert_array_equal(find_gallery(clips, "train"), np.nonzero(clips == 1))
    np.testing.assert_array_equal(find_gallery(clips, "all"), np.nonzero(clips))


def test_a_mean_of_pictures_is_that_of_their_features_too():
    rng = np.random.default_rng(0)
    frames, features = (
        rng.integers(0, 256, (6, 2, 3, 3)).astype("u1"),
        rng.standard_normal((6, 4)).astype("f4"),
    )
    index, weight = rng.integers(0, 6, (5, 3)), rng.dirichlet(np.ones(3), 5).astype("f4")
    made = Thumbnails(frames, {"video_a": features}).mixed(index, weight)
    np.testing.assert_allclose(made.frames, np.einsum("nk,nkyxc->nyxc", weight, frames[index]), rtol=1e-5)
    np.testing.assert_allclose(
        made.features["video_a"], np.einsum("nk,nkf->nf", weight, features[index]), atol=1e-6
    )
