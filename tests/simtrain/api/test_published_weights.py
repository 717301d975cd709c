"""simtrain.import_weights: the run that the command makes."""

from command_line import call
from examples import must_run
from published_weights import write_weights
from training_runs import assert_equal

import simtrain
from simtrain.training import checkpoint


def test_the_run_is_the_commands_and_says_what_it_says(store, tmp_path):
    _, encoder, wrappers = write_weights(tmp_path)
    given = {f"{modality}_wrapper": file for modality, file in wrappers.items()}
    run = simtrain.import_weights(store, tmp_path / "run", encoder, **given)
    options = [word for name, file in given.items() for word in (f"--{name.replace('_', '-')}", file)]
    told = call("import-weights", store, "--out", tmp_path / "told", "--fmri-encoder", encoder, *options)
    one, other = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("run", "told"))
    assert_equal(one, other)
    assert "outputs will not equal the published ones" in run.notes[0]
    assert run.notes[0] in told


def test_examples(store, tmp_path):
    _, encoder, wrappers = write_weights(tmp_path)
    must_run(simtrain.import_weights, store=store, out=tmp_path / "run", encoder=encoder, **wrappers)
