"""Every field once, with its unit and its reason. Variants state only what differs; the config is locked."""

import ml_collections
from ml_collections import config_dict
from ml_collections.config_dict import ConfigDict

from .recipes import ALL, PUBLISHED, parse_recipe  # relative: an installation has this folder as chimp_jax.configs


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """The published recipe (Ivanov 2021, sections 5 to 7), for the model ID or, without what IDs say, for `all`."""
    said = parse_recipe(PUBLISHED[0] if recipe == ALL else recipe)
    if recipe == ALL:
        said = {name: config_dict.placeholder(type(value)) for name, value in said.items()}
    config = ml_collections.ConfigDict()
    config.recipe = recipe  # names the folder of the members; the fields of data that it says stand below
    config.seed = 0  # of initial weights, order of windows, augmentation and drop-connect; fold k adds k

    config.data = data = ml_collections.ConfigDict(said)
    data.records = 'data'  # the folder that data_prep.build wrote; local or gs://
    data.size_px = 512  # frames are resized to size_px x size_px, whatever their aspect ratio
    data.folds = 'clip'  # column of folds.csv: 'clip' as published, 'site' for the honest figure
    data.n_folds = 5  # must be what folds.csv was made with
    data.windows_per_example = 1  # windows of one clip that share their frames' features; published: 1
    data.frames_per_example = 0  # distinct frames that such windows may need; 0: the frames of one window
    data.shares = 1  # parts of the clips, read apart, with equal parts of each batch: a multiple of the processes
    data.shuffle_windows = 2048  # windows in the shuffle buffer, as JPEG: about 0.4 MB each at full size

    config.model = model = ml_collections.ConfigDict()
    model.dtype = 'float32'  # of the computation: 'bfloat16' on TPU; parameters and metres stay float32
    model.backbone = 'efficientnet_b0'  # as published, or 'efficientnet_lite0': no squeeze-excite, ReLU6
    model.normalization = 'unit'  # 'unit': x / 255 as published; 'imagenet': ImageNet's mean and deviation
    model.drop_connect = 0.2  # rate at the last block, growing linearly from 0
    model.bn_momentum = 0.99  # of the running batch statistics; lower where updates are few
    model.bn_over_replicas = (
        False  # batch statistics of all replicas, where a replica has few clips; published: of each
    )
    model.lstm_units = 1024
    model.dense_units = 300

    config.start = start = ml_collections.ConfigDict()
    start.init = 'random'  # weights: 'random', 'imagenet', 'lite0', or PATH (see chimp_jax/models/pretrained.py)
    start.output_bias = 'zero'  # 'median': start at the median training distance, which saves about 100 updates

    config.train = train = ml_collections.ConfigDict()
    train.batch_size = 96  # windows an update, over all devices
    train.micro_batches = 1  # parts of a device's windows, one after the other, for small memories; batch
    # statistics are then those of the parts, as if each were a device: 8 on one device is a v3-8's update
    train.epochs = 40
    train.early_stop_epochs = 0  # stop after so many epochs without a better one; 0, as published: never
    train.learning_rate = 1e-3
    train.adam_b1 = 0.9
    train.adam_b2 = 0.999
    train.adam_eps = 1e-7
    train.warmup_steps = 0  # updates of linear warm-up; published: none
    train.decay_fraction = 0.0  # last part of all updates, with linear decay to 0; published: none
    train.plateau = ml_collections.ConfigDict()
    train.plateau.factor = 0.5
    train.plateau.patience = 3  # epochs without improvement
    train.plateau.min_delta = 1e-4  # metres, absolute
    train.plateau.min_lr = 1e-8
    return config.lock()
