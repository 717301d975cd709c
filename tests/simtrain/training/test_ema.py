import pytest
import torch

from simtrain.training.ema import Average


def _trained(steps, decay):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    average, history = Average(module, decay), [module.weight.detach().clone()]
    for step in range(steps):
        with torch.no_grad():
            module.weight += torch.randn(2, 3)
        average.update(step)
        history.append(module.weight.detach().clone())
    return module, average, history


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_is_that_of_a_plain_loop(decay):
    _, average, history = _trained(30, decay)
    mean = history[0].double()
    for step, weights in enumerate(history[1:]):
        kept = min(decay, (1 + step) / (10 + step))
        mean = kept * mean + (1 - kept) * weights.double()
    assert list(average.state_dict()) == ["weight"]
    torch.testing.assert_close(average.state_dict()["weight"].double(), mean, rtol=1e-5, atol=1e-6)


def test_applied_gives_the_weights_back_bit_for_bit():
    module, average, _ = _trained(5, 0.5)
    before, mean = module.weight.detach().clone(), average.state_dict()["weight"].clone()
    with average.applied():
        assert torch.equal(module.weight, mean)
    assert torch.equal(module.weight, before)
    assert torch.equal(average.state_dict()["weight"], mean)


def test_the_state_is_taken_up_again():
    _, average, _ = _trained(5, 0.5)
    _, other, _ = _trained(1, 0.5)
    other.load_state_dict(average.state_dict())
    assert torch.equal(other.state_dict()["weight"], average.state_dict()["weight"])
