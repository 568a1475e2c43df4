"""Model IDs: their grammar, the twelve published ones and their weights in the published ensemble."""

import fnmatch
import re
from collections.abc import Sequence

from ml_collections.config_dict import ConfigDict

GRAMMAR = '(down|full)-(a1|a2|a4)p(50|80)-(f7|f9)(s1|s2), for example full-a4p50-f7s1'
_PATTERN = re.compile(r'(down|full)-(a1|a2|a4)p(50|80)-f(7|9)s(1|2)')
ALL = 'all'  # instead of a model ID: the twelve published ones

# In the order of the write-up's table, without prefixes such as run-20211101-1526-.
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


# The published ensemble (Ivanov 2021, section 8): recipes in the order of the greedy search. Each one is mixed into the
# recipes before it: mixture = coefficient * mixture + (1 - coefficient) * recipe.
PUBLISHED_CHAIN = (
    ('full-a4p50-f7s1', None),
    ('full-a2p50-f7s1', 0.58),
    ('full-a4p50-f7s2', 0.72),
    ('down-a4p50-f7s1', 0.83),
    ('full-a1p50-f9s1', 0.81),
    ('full-a1p50-f7s1', 0.89),
    ('down-a2p50-f7s1', 0.87),
    ('down-a1p50-f7s1', 0.98),
    ('down-a4p50-f7s2', 0.88),
    ('down-a1p50-f9s1', 1.03),
    ('down-a2p80-f7s1', 1.07),
    ('down-a1p80-f7s1', 1.1),
)


def parse_recipe(recipe: str) -> dict:
    """Returns the fields of config.data that a model ID names, such as 'full-a4p50-f7s1'.

    Raises ValueError with the grammar if the ID is malformed.
    """
    match = _PATTERN.fullmatch(recipe)
    if not match:
        raise ValueError(f'{recipe!r} is not a model ID; the grammar is {GRAMMAR}, or {ALL}')
    stream, augmentation, percent, n_frames, step_s = match.groups()
    return {
        'stream': stream,
        'augmentation': augmentation,
        'augmentation_probability': int(percent) / 100,
        'n_frames': int(n_frames),
        'step_s': int(step_s),
    }


def each_recipe(config: ConfigDict, patterns: Sequence[str] | None = None) -> list[ConfigDict]:
    """Returns the configs to train: the config itself, or for `all` one per published ID that a pattern matches.

    patterns: model IDs, published or not, or texts with * and ?; without patterns, all published IDs. The configs
    differ only in the fields that a model ID sets. Raises ValueError if a pattern matches nothing, or if the config
    overrides a field that a model ID sets.
    """
    if config.recipe != ALL:
        if patterns:
            raise ValueError(f'--recipes requires --config=FILE.py:{ALL}, not of {config.recipe}; leave --recipes out')
        return [config]
    configs = []
    for recipe in _matching(patterns) if patterns else PUBLISHED:
        fields = parse_recipe(recipe)
        overridden = [f'data.{name}' for name in fields if config.data[name] is not None]
        if overridden:
            raise ValueError(f'{", ".join(overridden)}: the model ID sets it; leave the flag out, or name one model ID')
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
