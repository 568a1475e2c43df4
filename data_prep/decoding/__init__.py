"""A clip file to the frames of its seconds."""
