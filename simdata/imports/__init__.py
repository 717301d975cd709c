"""Embeddings that were computed elsewhere: their files, and their rows on a film's clock."""
