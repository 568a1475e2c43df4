"""The commands that people type: one file for each, with its flags, its steps and its messages."""
