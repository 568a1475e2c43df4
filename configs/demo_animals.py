"""The demo's recipe with a region branch: a distance for each animal. `make demo` runs it.

    python train.py --config=configs/demo_animals.py:full-a2p50-f7s1 --workdir=demo/animals/runs

The members start from the demo's, with the same backbone: the region branch is new, and LSTM and head learn on.
"""

from ml_collections.config_dict import ConfigDict

from configs import demo


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = demo.get_config(recipe)
    # A clip of 8 s has 9 frames and 4 labelled seconds, which share the frames.
    config.data.update(records='demo/animals/data', windows_per_example=4, frames_per_example=9)
    config.model.update(regions=True)
    config.start.update(init=f'demo/runs/{recipe}')
    config.train.update(epochs=30, warmup_steps=8)
    config.train.plateau.patience = 30  # some dozen validation rows go up and down by chance
    return config
