"""The parts of `chimp-distance estimate`."""
