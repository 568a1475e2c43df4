"""Does `data_prep.build --enhance` help on clips of low resolution? On simulated clips, re-encoded as old cameras did.

    python -m bench.low_resolution

renders the clips, prepares the records and trains the base and the variants. The base reads pictures as they are. The
variant `large` reads the clips before they were made small: no enhancement can be better.
"""

from ml_collections.config_dict import ConfigDict

from configs import demo
from configs.variants import Variant

FOLDER = 'demo/low_resolution'
VARIANTS = {
    'enhance': Variant('Do better pictures of low-resolution clips help?', build='enhance=auto'),
    'network': Variant('Does the network help?', {'data.records': f'{FOLDER}/data-network'}),
    'large': Variant('What did the low resolution cost?', {'data.records': f'{FOLDER}/data-large'}),
}


def get_config(recipe: str = 'full-a2p50-f7s1') -> ConfigDict:
    """Returns the base of a model ID: that of the demo, with pictures large enough that resolution counts."""
    config = demo.get_config(recipe)
    config.data.records = f'{FOLDER}/data'
    config.data.update(size_px=192, windows_per_example=1, frames_per_example=0)
    config.train.update(batch_size=8)
    return config
