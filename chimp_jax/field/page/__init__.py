"""The page of `chimp-distance report`."""
