import pytest
from hypothesis import given
from hypothesis import strategies as st

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.config.modalities import KINDS, kind, pairs, weigh

PUBLISHED = {"fmri_video": 0.8, "fmri_audio": 0.1, "video_audio": 0.1}


def test_one_of_each_kind_has_the_published_weights():
    assert weigh(["audio", "fmri", "video"], PUBLISHED) == {
        ("fmri", "video"): 0.8,
        ("fmri", "audio"): 0.1,
        ("video", "audio"): 0.1,
    }


def test_embeddings_of_a_kind_share_its_weight():
    assert weigh(["fmri", "video_a", "video_b", "audio"], PUBLISHED) == {
        ("fmri", "video_a"): 0.4,
        ("fmri", "video_b"): 0.4,
        ("fmri", "audio"): 0.1,
        ("video_a", "video_b"): 0.0,
        ("video_a", "audio"): 0.05,
        ("video_b", "audio"): 0.05,
    }


def test_a_pairs_own_weight_takes_the_place_of_its_share():
    own = {"fmri_video_a": 0.7, "video_a_video_b": 0.2}
    weights = load("sim-tiny", [f"loss.weights.{k}={v}" for k, v in own.items()], "fmri,video_a,video_b")
    assert weights.pair_weights == {
        ("fmri", "video_a"): 0.7,
        ("fmri", "video_b"): 0.4,
        ("video_a", "video_b"): 0.2,
    }


@given(st.lists(st.sampled_from(["video", "audio", "video_a", "video_b", "audio_a"]), unique=True))
def test_shares_of_kinds_add_up_to_what_is_stated_of_them(stimuli):
    weights = weigh(["fmri", *stimuli], PUBLISHED)
    for one, other in (("fmri", "video"), ("fmri", "audio"), ("video", "audio")):
        of_kinds = [w for pair, w in weights.items() if [kind(name) for name in pair] == [one, other]]
        if of_kinds:
            assert sum(of_kinds) == pytest.approx(PUBLISHED[f"{one}_{other}"])


@given(st.permutations(["fmri", "video_a", "video_b", "audio_a"]))
def test_pairs_are_in_the_order_of_their_kinds(modalities):
    found = pairs(modalities)
    assert len(found) == 6
    assert all(KINDS.index(kind(one)) <= KINDS.index(kind(other)) for one, other in found)


def test_other_kinds_come_last_and_have_a_weight_unless_they_are_given_one():
    found = weigh(["fmri", "text_gpt2", "video", "text_bert"], {"fmri_video": 0.8})
    assert next(iter(found)) == ("fmri", "video")
    assert found["fmri", "text_gpt2"] == found["fmri", "text_bert"] == pytest.approx(0.05)
    assert found["video", "text_gpt2"] == pytest.approx(0.05)
    assert found["text_gpt2", "text_bert"] == 0
    assert weigh(["fmri", "text_gpt2"], {"fmri_text": 0.5}) == {("fmri", "text_gpt2"): 0.5}
    config = load("demo", ["loss.weights.fmri_text=0.3"], "fmri,video,text_gpt2")
    assert config.pair_weights["fmri", "text_gpt2"] == 0.3
    for wrong in ("texts", "Text_gpt2", "fmri_x", "te-xt_a"):
        with pytest.raises(UserError, match="modalities"):
            load("demo", [], f"fmri,{wrong}")
