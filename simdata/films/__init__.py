"""One film: from its container to blocks of pictures and sound, at exact times."""
