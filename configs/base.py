"""Every field once, with its unit and its reason. Variants state only what differs; the config is locked."""

import fnmatch
import re
from collections.abc import Sequence

import ml_collections
from ml_collections import config_dict
from ml_collections.config_dict import ConfigDict

GRAMMAR = '(down|full)-(a1|a2|a4)p(50|80)-(f7|f9)(s1|s2), for example full-a4p50-f7s1'
_PATTERN = re.compile(r'(down|full)-(a1|a2|a4)p(50|80)-f(7|9)s(1|2)')
ALL = 'all'  # in the place of a model ID: the twelve published ones

# In the order of the write-up's table, without the prefix run-20211101-1526- and so on.
PUBLISHED = (
    'down-a1p50-f7s1',
    'down-a1p50-f9s1',
    'down-a2p50-f7s1',
    'down-a2p80-f7s1',
    'down-a1p80-f7s1',
    'down-a4p50-f7s1',
    'down-a4p50-f7s2',
    'full-a1p50-f7s1',
    'full-a1p50-f9s1',
    'full-a2p50-f7s1',
    'full-a4p50-f7s1',
    'full-a4p50-f7s2',
)


def parse_recipe(recipe: str) -> dict:
    """The model ID is the configuration: 'full-a4p50-f7s1' -> the fields of config.data that it says.

    Raises ValueError with the grammar where the ID is malformed.
    """
    match = _PATTERN.fullmatch(recipe)
    if not match:
        raise ValueError(f'{recipe!r} is no model ID; the grammar is {GRAMMAR}, or {ALL}')
    stream, augmentation, percent, n_frames, step_s = match.groups()
    return {
        'stream': stream,
        'augmentation': augmentation,
        'augmentation_probability': int(percent) / 100,
        'n_frames': int(n_frames),
        'step_s': int(step_s),
    }


def each_recipe(config: ConfigDict, patterns: Sequence[str] | None = None) -> list[ConfigDict]:
    """The configs to train: itself, or for `all` one for each published ID that a pattern matches (all by default).

    A pattern is a model ID, published or not, or holds * and ?. Other fields are the same in all of them; fields that
    an ID says may not be overridden for all. Raises ValueError where a pattern matches nothing.
    """
    if config.recipe != ALL:
        if patterns:
            raise ValueError(f'--recipes chooses among the recipes of --config=FILE.py:{ALL}, not of {config.recipe}')
        return [config]
    configs = []
    for recipe in _matching(patterns) if patterns else PUBLISHED:
        fields = parse_recipe(recipe)
        overridden = [f'data.{name}' for name in fields if config.data[name] is not None]
        if overridden:
            raise ValueError(f'{", ".join(overridden)}: the model ID says it, it cannot be set for {ALL} recipes')
        mine = config.copy_and_resolve_references()
        mine.recipe = recipe
        mine.data.update(fields)
        configs.append(mine)
    return configs


def _matching(patterns: Sequence[str]) -> list[str]:
    chosen = []
    for pattern in patterns:
        found = fnmatch.filter(PUBLISHED, pattern)
        if not found:
            parse_recipe(pattern)
        chosen += found or [pattern]
    return list(dict.fromkeys(chosen))


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
    model.init = 'random'  # start: 'random', 'imagenet', 'lite0', or PATH (see chimp_jax/models/pretrained.py)
    model.normalization = 'unit'  # 'unit': x / 255 as published; 'imagenet': ImageNet's mean and deviation
    model.drop_connect = 0.2  # rate at the last block, growing linearly from 0
    model.bn_momentum = 0.99  # of the running batch statistics; lower where updates are few
    model.bn_over_replicas = (
        False  # batch statistics of all replicas, where a replica has few clips; published: of each
    )
    model.lstm_units = 1024
    model.dense_units = 300
    model.output_bias = 'zero'  # 'median': start at the median training distance, which saves some 100 updates

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
