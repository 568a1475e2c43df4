"""The two forms of training a member: the whole network on frames, or all but its backbone on kept features."""
