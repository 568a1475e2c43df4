"""The published model on the demo's clips, as a laptop trains it: `make demo` runs it.

    python train.py --config=configs/demo.py:full-a2p50-f7s1 --workdir=demo/runs

It is configs/laptop.py with two folds and few epochs. The LSTM has 256 units in place of 1024, so an epoch takes
a fifth of the time.
"""

from ml_collections.config_dict import ConfigDict

from configs import laptop


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = laptop.get_config(recipe)
    config.data.update(records='demo/data', n_folds=2)
    config.model.update(lstm_units=256)
    config.train.update(epochs=4, warmup_steps=15, decay_fraction=0.5)
    return config
