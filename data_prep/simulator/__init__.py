"""The world of the simulated clips: sites, animals and their pictures. The command is data_prep.simulate."""
