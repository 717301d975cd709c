"""The learning rate, against torch's own schedulers; and counts that are a share of a whole."""

import warnings
from decimal import ROUND_CEILING, Decimal

import pytest
import torch
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from simdata.common.errors import UserError
from simtrain.common.counts import share_near, share_up
from simtrain.config.composition import load
from simtrain.training.schedule import Plateau, learning_rate, warmup_updates


def _train(steps, warmup):
    return load("demo", [f"train.steps={steps}", f"train.warmup={warmup}", "train.learning_rate=2.0"]).train


def _torchs(steps, rising):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = CosineAnnealingLR(optimizer, steps - rising)
    if rising > 1:
        for group in optimizer.param_groups:
            group["lr"] = 2.0
        rise = LinearLR(optimizer, 1 / rising, 1.0, rising - 1)
        schedule = SequentialLR(optimizer, [rise, schedule], [rising - 1])
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return rates


@pytest.mark.parametrize(
    ("steps", "warmup", "rising"),
    [(100, 0.07, 7), (100, 0.29, 29), (50, 0.14, 7), (20, 0.025, 1), (101, 0.07, 8), (10, 0.999, 9)],
)
def test_the_rate_is_that_of_torchs_schedulers(steps, warmup, rising):
    train = _train(steps, warmup)
    rates = [learning_rate(train, update) for update in range(1, steps + 1)]
    assert warmup_updates(train) == rising
    assert rates == pytest.approx(_torchs(steps, rising), abs=1e-12)
    assert rates[0] == pytest.approx(2.0 / rising)
    assert rates.count(2.0) == 1
    assert rates[rising - 1] == 2.0
    assert rates[-1] == 0


def test_without_a_warmup_it_begins_at_its_highest():
    assert [learning_rate(_train(3, 0), update) for update in (1, 2, 3)] == pytest.approx([2.0, 1.0, 0.0])
    assert learning_rate(_train(1, 0), 1) == 2.0
    assert learning_rate(_train(1, 0.9), 1) == 2.0


@pytest.mark.parametrize("whole", [20, 80, 100, 320, 1280, 20_000])
def test_shares_are_those_of_the_decimal_number_that_was_written(whole):
    for hundredths in range(100):
        text = f"0.{hundredths:02}"
        exact = Decimal(text) * whole
        assert share_up(float(text), whole) == int(exact.to_integral_value(ROUND_CEILING))
        assert share_near(float(text), whole) == round(exact)


@pytest.mark.parametrize("rising", [1, 5])
@pytest.mark.parametrize("schedule", ["constant", "step"])
def test_other_schedules_are_torchs_behind_the_warm_up(schedule, rising):
    keys = [f"train.schedule={schedule}", "train.step_every=7", "train.step_factor=0.3", "train.steps=40"]
    train = load("demo", [*keys, f"train.warmup={rising / 40}", "train.learning_rate=2.0"]).train
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    after = StepLR(optimizer, 7, 0.3) if schedule == "step" else ConstantLR(optimizer, 1.0)
    rates = [2.0 * update / rising for update in range(1, rising)]
    while len(rates) < 40:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        after.step()
    assert [learning_rate(train, update) for update in range(1, 41)] == pytest.approx(rates)


@pytest.mark.parametrize(("patience", "factor"), [(0, 0.5), (2, 0.1), (10, 0.3)])
def test_a_plateau_is_torchs(patience, factor):
    settings = [
        "train.schedule=plateau",
        f"train.plateau_patience={patience}",
        f"train.plateau_factor={factor}",
    ]
    plateau = Plateau(load("demo", settings).train)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torchs = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=0, eps=0)
    objectives = torch.randn(80, generator=torch.Generator().manual_seed(1)).tolist()
    for objective in [*objectives, objectives[-1], -9.0, -9.0, *objectives]:
        plateau.see(objective)
        torchs.step(objective)
        assert plateau.scale == optimizer.param_groups[0]["lr"]
    assert plateau.scale < 1


def test_a_plateau_without_a_criterion_is_refused():
    with pytest.raises(UserError, match="schedule plateau needs best_by"):
        load("demo", ["train.schedule=plateau", "train.best_by=null"])
