"""Six ablations that two cores train in minutes: on features of a frozen backbone, on simulated clips.

    make ablations-demo

The base is configs/demo.py: Lite0 with its ImageNet weights encodes each frame once, and LSTM and head learn from the
features. Five variants change what is made of the features, one the pictures.
"""

from ml_collections.config_dict import ConfigDict

from configs import ablations, demo
from configs.variants import Variant

VARIANTS = {name: ablations.VARIANTS[name] for name in ('mean', 'single', 'stacked', 'huber', 'folds_clip')}
VARIANTS['pixels64'] = Variant('What do half as many pixels per side cost?', {'data.size_px': 64})


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the base of a model ID."""
    config = demo.get_config(recipe)
    config.data.update(records='demo/ablations/data', n_folds=3)
    config.train.update(epochs=12)  # of 8 updates each
    # The variants differ in the frames of a window, so each window has its own.
    config.data.update(windows_per_example=1, frames_per_example=0)
    return config
