"""The world of the simulated clips: sites, animals and pictures of them. data_prep.simulate is the command."""
