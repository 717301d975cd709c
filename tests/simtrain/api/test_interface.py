"""The public interface of simtrain as a whole: its names, their docstrings, and the page that shows them."""

import inspect
import re
from pathlib import Path

import pytest

import simtrain

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
# The page's examples, with names and sizes of the small store.
SMALLER = {
    '"sim-tiny", overrides={"train.steps": 2000}': '"demo", overrides={"train.steps": 20}, device="cpu"',
    "batch_size=64": "batch_size=8, ico=1",
    'device="auto", epochs=10': 'device="cpu", epochs=1',
    "draws=10": "draws=2, clips=20",
    '"baselines", "ridge", ': '"baselines", "ridge", config="demo", draws=2, clips=20, ',
    "windows=10": "windows=2",
    "rotations=100": "rotations=9",
    '"tables", "C1"': '"tables", "C1", demo=True, pool=4, device="cpu", overrides={"train.steps": 1}',
    'run.metrics.plot(x="step", y="train/loss")': "run.metrics",
}


def test_names_are_those_of_the_docs():
    assert set(simtrain.__all__) == {
        *(
            "fit",
            "pretrain",
            "retrieve",
            "predict",
            "reconstruct",
            "saliency",
            "baseline",
            "compare",
            "correlate",
            "import_weights",
            "reproduce",
            "encode",
            "adapt",
        ),
        *("load_run", "load_config", "open_dataset", "batches", "__version__"),
    }
    assert dir(simtrain) == sorted(simtrain.__all__)
    page = PAGE.read_text()
    assert all(f"simtrain.{name}(" in page for name in simtrain.__all__ if name != "__version__")


@pytest.mark.parametrize("name", sorted({*simtrain.__all__} - {"__version__"}))
def test_each_function_says_what_it_takes_gives_and_raises(name):
    function = getattr(simtrain, name)
    documented = inspect.getdoc(function)
    sections = re.findall(r"^(\w+)\n-+$", documented, re.MULTILINE)
    assert sections == ["Parameters", "Returns", "Raises", "Examples"]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert f"must_run(simtrain.{name}," in tests or f"must_run(simtrain.{name})" in tests


def test_the_page_s_examples_run(store, tmp_path, monkeypatch):
    text = PAGE.read_text()
    blocks = re.findall(r"```python\n(.*?)```", text[text.index("## simtrain: training") :], re.DOTALL)
    code = "\n".join(blocks)
    for shown, smaller in SMALLER.items():
        assert shown in code, shown
        code = code.replace(shown, smaller)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("hcp.zarr", str(store)), str(PAGE), "exec"), {})
    assert (tmp_path / "baselines" / "ridge" / "retrieval.json").is_file()
    assert (tmp_path / "embedded.zarr").is_dir()
