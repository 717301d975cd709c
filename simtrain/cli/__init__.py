"""The commands of `simtrain`, by what they are for."""
