"""All fields of a config, each with its unit and reason. Other configs change single fields; none can be added."""

import ml_collections
from ml_collections import config_dict
from ml_collections.config_dict import ConfigDict

from .recipes import ALL, PUBLISHED, parse_recipe  # relative: an installation has this folder as chimp_jax.configs


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the published recipe (Ivanov 2021, sections 5 to 7) of a model ID. For `all`, its fields are empty."""
    fields = parse_recipe(PUBLISHED[0] if recipe == ALL else recipe)
    if recipe == ALL:
        fields = {name: config_dict.placeholder(type(value)) for name, value in fields.items()}
    config = ml_collections.ConfigDict()
    config.recipe = recipe  # names the folder of the members; the ID also sets the first fields of config.data
    config.seed = 0  # of initial weights, order of windows, augmentation and drop-connect; fold k adds k

    # From the model ID: stream, augmentation (set of operations), augmentation_probability, n_frames (of a window),
    # step_s (seconds between these frames).
    config.data = data = ml_collections.ConfigDict(fields)
    data.records = 'data'  # the folder that data_prep.build wrote; local or gs://
    data.size_px = 512  # frames are resized to size_px x size_px, whatever their aspect ratio
    data.folds = 'clip'  # column of folds.csv: by 'clip', the original's own by clip ('published', for comparing its
    # out-of-fold figures or weights), or by 'site' for the honest error on new sites
    data.n_folds = 5  # must match folds.csv
    data.windows_per_example = 1  # windows of one clip that share their frames' features; published: 1
    data.frames_per_example = 0  # distinct frames that these windows may need; 0: the frames of one window
    data.shares = 1  # parts of the clips, read apart, with equal parts of each batch; a multiple of the processes
    data.shuffle_windows = 2048  # windows in the shuffle buffer, as JPEG: about 0.4 MB each at full size
    # A student learns the distances of an ensemble (configs/student.py).
    data.teacher = ''  # table of these distances, which `chimp-distance score --split teacher` writes; '': none
    data.teacher_share = 0.5  # of the teacher's distance in the mixture with a label: the teacher has less noise, the
    # label no bias. A second without a label has the teacher's distance alone
    data.unlabelled = ''  # another folder of data_prep.build, whose clips without labels the student learns too
    # The next two matter only with model.regions.
    data.most_animals = 3  # slots of animals in an example and in a frame; more animals get the whole frame's distance
    data.composite_probability = 0.0  # of an example to get a second animal, pasted from another second of its clip

    config.model = model = ml_collections.ConfigDict()  # the fields of DistanceModel
    model.dtype = 'float32'  # of the computation: 'bfloat16' on TPU, 'float16' with loss scaling on GPUs without
    # bfloat16; parameters and metres stay float32
    model.backbone = 'efficientnet_b0'  # as published, or 'efficientnet_lite0': no squeeze-excite, ReLU6
    model.normalization = 'unit'  # 'unit': x / 255 as published; 'imagenet': ImageNet's mean and deviation
    model.drop_connect = 0.2  # rate at the last block, growing linearly from 0
    model.bn_momentum = 0.9801  # of the running batch statistics, per update. Published: Keras' 0.99, applied twice, as
    # TimeDistributed did (docs/fidelity.md); lower if there are few updates
    model.bn_over_replicas = False  # published: batch statistics of each replica; True if a replica has few clips
    model.temporal = 'lstm'  # over the window's frames, as published; 'mean', 'single' (the target's frame) or
    # 'stacked' (the features of the five middle frames, one after the other): chimp_jax/models/over_time.py
    model.audio = (
        ''  # published: no sound. 'alone': the log-mel picture of the window instead of its frames, 'with_frames':
    )
    # beside them, each through a backbone of its own (chimp_jax/models/sound.py); requires records with --audio
    model.lstm_units = 1024
    model.dense_units = 300
    model.regions = False  # published: one distance for the whole frame. True: one more for each animal that has a box

    config.start = start = ml_collections.ConfigDict()
    start.init = 'random'  # weights: 'random', 'imagenet', 'lite0', or PATH, in which {fold} is the number of the fold
    # (see chimp_jax/models/pretrained.py)
    start.output_bias = 'zero'  # 'median': start at the median training distance, which saves about 100 updates

    config.train = train = ml_collections.ConfigDict()
    train.frozen = ''  # published: all weights are trained. 'backbone': each frame and its mirror image are encoded
    # once and kept as features beside the records; all other weights are trained on them. Half of the windows are
    # mirrored; the recipe's other augmentations would need other pictures and are not applied
    train.loss = 'mae'  # published; 'huber', or 'interval': no loss within the bin of a label that is a bin's middle
    # (chimp_jax/models/losses.py). The validation error is the MAE whatever the loss
    train.bin_edges_m = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)  # of train.loss=interval: Tai's bins
    train.batch_size = 96  # windows per update, over all devices
    train.micro_batches = 1  # parts of a device's windows, one after the other, for small memories. Each part has its
    # own batch statistics, as if it were a device: 8 parts on one device make the update of a v3-8
    train.epochs = 40
    train.save_minutes = 10.0  # between two checkpoints within a long epoch: a killed run loses no more
    train.early_stop_epochs = 0  # stop after this many epochs without a new best; 0, as published: never
    train.learning_rate = 1e-3
    train.adam_b1 = 0.9
    train.adam_b2 = 0.999
    train.adam_eps = 1e-7
    train.warmup_steps = 0  # updates of linear warm-up; published: none
    train.decay_fraction = 0.0  # share of all updates, at the end, with linear decay to 0; published: none
    train.plateau = ml_collections.ConfigDict()
    train.plateau.factor = 0.5
    train.plateau.patience = 3  # epochs without improvement
    train.plateau.min_delta = 1e-4  # metres, absolute
    train.plateau.min_lr = 1e-8
    return config.lock()
