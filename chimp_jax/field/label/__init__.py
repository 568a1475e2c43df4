"""A page on this machine where a person measures distances."""
