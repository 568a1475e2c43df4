"""What `--enhance` asks for: the steps, the width below which a clip is enhanced, and the width that it gets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from etils import epath

from data_prep.enhance.network import read_network
from data_prep.files import sha256

OFF, AUTO = 'off', 'auto'
STEPS = ('deblock', 'denoise', 'fuse', 'upscale', 'sharpen')  # in the order in which they are applied
AUTO_STEPS = ('deblock', 'fuse', 'upscale')  # docs/ablations.md has the measurement
VALUES = ('network', 'below', 'to')
MOST_PX = 4096  # a wider picture fills the memory of a worker
FORM = 'off, auto, or steps such as deblock,denoise,fuse,upscale,sharpen,network=FILE,below=640,to=640'


@dataclass(frozen=True)
class Enhancement:
    """How the clips of less than `below_px` pixels in width are enhanced. Its repr names everything that counts."""

    steps: tuple[str, ...] = AUTO_STEPS
    below_px: int = 640
    to_px: int = 640  # width after `upscale`
    network: str = ''  # file of chimp_jax.enhance, local or gs://, used by `upscale`; '': Lanczos alone
    network_sha256: str = ''

    def applies_to(self, width_px: int) -> bool:
        return width_px < self.below_px

    def __str__(self) -> str:
        network = [f'network={self.network_sha256[:12]}'] if self.network else []
        return ','.join([*self.steps, *network, f'below={self.below_px}', f'to={self.to_px}'])


def parse_enhancement(text: str) -> Enhancement | None:
    """Returns what `--enhance` asks for, None for `off`. Reads the network's file to know its SHA-256.

    Raises ValueError with the form for any other text, OSError if the network's file cannot be read.
    """
    if text == OFF:
        return None
    values, steps = {}, set()
    for part in filter(None, (part.strip() for part in text.split(','))):
        name, equals, value = part.partition('=')
        if equals and value and name in VALUES:
            if values.setdefault(name, value) != value:
                raise ValueError(f'--enhance={text} gives {name} twice; give one value')
        elif part == AUTO:
            steps.update(AUTO_STEPS)
        elif part in STEPS:
            steps.add(part)
        else:
            raise ValueError(f'--enhance: {part!r} is no step; give {FORM}')
    network = values.get('network', '')
    if network:
        steps.add('upscale')
    if not steps:
        raise ValueError(f'--enhance={text} has no step; give {FORM}')
    return Enhancement(
        steps=tuple(step for step in STEPS if step in steps),
        below_px=_width_px('below', values),
        to_px=_width_px('to', values),
        network=network,
        network_sha256=_network_sha256(network) if network else '',
    )


def _width_px(name: str, values: Mapping[str, str]) -> int:
    text = values.get(name, '640')
    if not re.fullmatch('[1-9][0-9]{1,3}', text) or int(text) > MOST_PX:
        raise ValueError(f'--enhance: {name}={text} must be a width of 10 to {MOST_PX} px')
    return int(text)


def _network_sha256(path: str) -> str:
    """Returns the SHA-256 of a network's file. Raises ValueError if it is missing or no network."""
    if '://' in path and not path.startswith('gs://'):
        raise ValueError(f'--enhance: the network {path} must be a local file or at gs://')
    if not epath.Path(path).exists():
        raise ValueError(f'--enhance: {path} does not exist; make it with python -m chimp_jax.enhance')
    digest = sha256(path)
    read_network(path, digest)
    return digest
