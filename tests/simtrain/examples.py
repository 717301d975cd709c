"""The examples of docstrings, run with real objects."""

import doctest

import simtrain


def must_run(function, **objects):
    """Run the examples of a function; there is at least one, and all give what they say."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    finder = doctest.DocTestFinder(recurse=False)
    for example in finder.find(function, function.__name__, globs={"simtrain": simtrain, **objects}):
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0
