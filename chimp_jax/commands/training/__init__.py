"""The parts of the two commands that train: `chimp-distance train` and `chimp-train`."""
