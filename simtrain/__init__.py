"""simtrain: trains SIM (surface vision transformer + CLIP) from the store that simdata builds."""

from importlib.metadata import version

__version__ = version("simdata")
