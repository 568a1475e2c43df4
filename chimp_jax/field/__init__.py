"""From a disk of clips to distances that an ecologist can use."""
