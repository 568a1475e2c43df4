"""A recipe for 300 to 3,000 labels and no accelerator."""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = base.get_config(recipe)
    config.data.update(size_px=128, folds='site')
    config.data.update(windows_per_example=2, frames_per_example=9)
    config.model.update(backbone='efficientnet_lite0')
    config.start.update(init='lite0', output_bias='median')
    config.train.update(frozen='backbone', batch_size=32, epochs=20, learning_rate=5e-4, warmup_steps=30)
    config.train.update(decay_fraction=0.4)
    return config
