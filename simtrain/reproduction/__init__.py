"""The paper's tables: what is fitted and tested for each, what came of it, and what was published."""
