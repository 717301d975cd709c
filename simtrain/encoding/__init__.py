"""Encoding models: how well the film's embeddings predict the BOLD of every vertex."""
