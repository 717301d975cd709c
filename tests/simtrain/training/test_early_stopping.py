from simtrain.training.early_stopping import Patience

LOSSES = [3.0, 2.0, 2.5, 1.0, 1.0, 1.5, float("nan")]


def _judged(patience, losses):
    return [patience.improved(loss) for loss in losses], patience.exhausted


def test_only_less_than_the_best_is_better():
    assert _judged(Patience(4), LOSSES)[0] == [True, True, False, True, False, False, False]


def test_it_is_exhausted_behind_so_many_in_a_row():
    assert not _judged(Patience(3), LOSSES[:-1])[1]
    assert _judged(Patience(3), LOSSES)[1]
    assert not _judged(Patience(None), LOSSES * 9)[1]


def test_the_state_is_taken_up_again():
    one, other = Patience(3), Patience(3)
    _judged(one, LOSSES[:5])
    other.load_state_dict(one.state_dict())
    assert _judged(other, LOSSES[5:]) == ([False, False], True)
