"""The published recipe on the demo's clips, small enough for two CPU cores: `make demo` runs it.

    python train.py --config=configs/demo.py:full-a4p50-f7s1 --workdir=demo/runs

What differs: smaller pictures, windows of neighbouring targets that share their frames, fewer updates and what goes
with few updates and small batches (warm-up, decay, batch statistics over all replicas and their momentum, output
bias), two folds, and Lite0's ImageNet weights, which can be installed, for B0's, which would have to be downloaded.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    config = base.get_config(recipe)
    config.data.update(records='demo/data', size_px=88, folds='site', n_folds=2)
    config.data.update(windows_per_example=2, frames_per_example=9, shuffle_windows=4096)
    config.model.update(bn_momentum=0.9, bn_over_replicas=True)
    config.start.update(init='lite0', output_bias='median')
    config.train.update(batch_size=12, epochs=2, learning_rate=1e-3, warmup_steps=30, decay_fraction=0.4)
    return config
