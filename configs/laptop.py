"""A recipe for 300 to 3,000 labels and no accelerator: `chimp-distance train` uses it.

    python train.py --config=configs/laptop.py:full-a2p50-f7s1 --workdir=runs --config.data.records=data

Differences from the published recipe, with the reasons:

- The backbone keeps its ImageNet weights (train.frozen). Each frame is encoded once, so an epoch costs the LSTM and the
  dense head alone.
- EfficientNet-Lite0 with its own weights. They come as a Python package, and they fit it as they are; B0 would start
  with squeeze-excite layers that no picture has trained.
- 128 px. More pixels would help, but encoding costs in proportion to them.
- Folds by site, because the next clips come from other stations.
- Two windows of neighbouring labels share their frames. Small batches, warm-up, decay and the median as the first
  answer suit the few hundred updates of such a training.
- Ten epochs. On simulated clips the error on other sites stopped falling between the fourth and the tenth. The best
  epoch counts.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = base.get_config(recipe)
    config.data.update(size_px=128, folds='site')
    # Two windows of 9 frames whose labels are two seconds apart need 11 frames.
    config.data.update(windows_per_example=2, frames_per_example=11)
    config.model.update(backbone='efficientnet_lite0')
    config.start.update(init='lite0', output_bias='median')
    config.train.update(frozen='backbone', batch_size=32, epochs=10, learning_rate=5e-4, warmup_steps=30)
    config.train.update(decay_fraction=0.4)
    return config
