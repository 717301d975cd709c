"""A synthetic miniature of a movie-watching release, written as the real one is."""

from simdata.synthetic.demo import write_demo

__all__ = ["write_demo"]
