"""The published recipe and one change at a time: which parts of the method matter.

    python -m chimp_jax.ablate --config=configs/ablations.py --workdir=runs/ablations --config.data.records=data

trains every variant on the same folds with the same seeds and compares each with the base (docs/ablations.md). The base
is the published recipe full-a4p50-f7s1 with folds by site: on folds by clip, a variant may win by learning the sites.
Another base: --config=configs/ablations.py:down-a1p50-f7s1. A field of the base: --config.start.init=lite0.
"""

from ml_collections.config_dict import ConfigDict

from configs import base
from configs.variants import Variant

VARIANTS = {
    # The axes of the published model IDs.
    'down': Variant('Do downsampled clips suffice?', {'data.stream': 'down'}),
    'augment_a1': Variant('What do turns and flips alone give, without colour and blur?', {'data.augmentation': 'a1'}),
    'augment_a2': Variant('Is changed brightness and hue better than blur?', {'data.augmentation': 'a2'}),
    'augment_p80': Variant('Do more augmented windows help?', {'data.augmentation_probability': 0.8}),
    'frames': Variant('Do nine frames tell more than seven?', {'data.n_frames': 9}),
    'step': Variant('Does a window of twice the length help?', {'data.step_s': 2}),
    # Pictures.
    'gamma_off': Variant('What does the correction of overexposed clips give?', build='gamma=never'),
    'gamma_always': Variant('Would the correction help all clips?', build='gamma=always'),
    'enhance': Variant('Do better pictures of low-resolution clips help?', build='enhance=auto'),
    'normalization': Variant(
        "Should pixels have ImageNet's mean and deviation, as its weights expect?", {'model.normalization': 'imagenet'}
    ),
    # Starting weights and backbone.
    'start_random': Variant('What do starting weights give?', {'start.init': 'random'}),
    'start_lite0': Variant(
        'Do weights of a package do as well as a download?',
        {'start.init': 'lite0', 'model.backbone': 'efficientnet_lite0'},
    ),
    'lite0': Variant(
        'Does a simpler backbone suffice? Compare with start_random.',
        {'model.backbone': 'efficientnet_lite0', 'start.init': 'random'},
    ),
    # What is made of the window.
    'mean': Variant('Does the order of the frames matter?', {'model.temporal': 'mean'}),
    'single': Variant(
        'Do other frames help at all? The first place used one.', {'model.temporal': 'single', 'data.n_frames': 1}
    ),
    # Their features are put side by side. The second place of the challenge and zamba put pictures side by side, as 15
    # channels: then the backbone runs once for each window, and no two windows can share a frame.
    'stacked': Variant(
        'Are five frames side by side as good as an LSTM?', {'model.temporal': 'stacked', 'data.n_frames': 5}
    ),
    # Sound.
    'audio_alone': Variant(
        'How far does the sound get without pictures? The write-up tried it.', {'model.audio': 'alone'}, build='audio'
    ),
    'audio_with_frames': Variant('Does the sound add to the pictures?', {'model.audio': 'with_frames'}, build='audio'),
    # Training.
    'huber': Variant('Does a loss that is round at 0 help?', {'train.loss': 'huber'}),
    'interval': Variant('Should labels that are middles of bins count as bins?', {'train.loss': 'interval'}),
    'epochs30': Variant('Are 30 epochs enough? The write-up names them as a fair saving.', {'train.epochs': 30}),
    'early_stop': Variant(
        'Does stopping after 8 epochs without a new best cost accuracy?', {'train.early_stop_epochs': 8}
    ),
    'bf16': Variant('Does bfloat16 cost accuracy?', {'model.dtype': 'bfloat16'}),
    'fp16': Variant('Does float16 with loss scaling cost accuracy?', {'model.dtype': 'float16'}),
    # Scoring.
    'tta': Variant('Does averaging over augmented pictures help? The write-up found it worse.', tta='a1'),
    'folds_clip': Variant('How optimistic are folds by clip, whose sites were seen?', {'data.folds': 'clip'}),
}


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the base of a model ID: published, with ImageNet weights and folds by site."""
    config = base.get_config(recipe)
    config.data.folds = 'site'
    config.start.init = 'imagenet'
    return config
