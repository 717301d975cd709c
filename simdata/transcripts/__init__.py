"""Transcripts: the words of a film with their times, from the files that aligners and annotators write."""
