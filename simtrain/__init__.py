"""simtrain: trains SIM (surface vision transformer + CLIP) from the store that simdata builds."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("simdata")

# Where each function of the public interface is: torch and the rest are imported at the first use of one.
_PLACES: dict[str, str] = {
    "adapt": "simtrain.api.adaptation",
    "baseline": "simtrain.api.retrieval",
    "batches": "simtrain.api.loading",
    "compare": "simtrain.api.comparison",
    "correlate": "simtrain.api.correlation",
    "encode": "simtrain.api.encoding_model",
    "fit": "simtrain.api.runs",
    "import_weights": "simtrain.api.published_weights",
    "load_config": "simtrain.api.runs",
    "load_run": "simtrain.api.runs",
    "open_dataset": "simtrain.api.loading",
    "predict": "simtrain.api.prediction",
    "pretrain": "simtrain.api.runs",
    "reconstruct": "simtrain.api.reconstruction",
    "reproduce": "simtrain.reproduction.reproducing",
    "retrieve": "simtrain.api.retrieval",
    "saliency": "simtrain.api.saliency",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
