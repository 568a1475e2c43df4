"""Six ablations that two cores train in minutes: on features of a frozen backbone, on simulated clips.

    make ablations-demo

The base is configs/demo.py: Lite0 with its ImageNet weights encodes each frame once, and LSTM and head learn from the
features. All variants learn from the same features. They tell what is made of features, and nothing about pictures.
"""

from ml_collections.config_dict import ConfigDict

from configs import ablations, demo

_NAMES = ('mean', 'single', 'stacked', 'frames', 'huber', 'folds_clip')
VARIANTS = {name: ablations.VARIANTS[name] for name in _NAMES}


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the base of a model ID."""
    config = demo.get_config(recipe)
    config.data.records = 'demo/ablations/data'
    # The variants differ in the frames of a window, so each window has its own.
    config.data.update(windows_per_example=1, frames_per_example=0)
    # 190 labels make 24 updates of 8. Larger batches would need more epochs, each with its validation and checkpoint.
    config.train.update(batch_size=8, epochs=4)
    return config
