"""Pictures of what was seen, by looking up clips or by a decoder, and their scores."""
