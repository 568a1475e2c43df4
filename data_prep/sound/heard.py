"""How many clips have no sound, and what this means for models that hear."""

from collections.abc import Iterable

from etils import epath

from data_prep.inputs.tables import read_table
from data_prep.sound.track import is_silent

SILENT = 'a member of the sound alone gives clips without sound one distance, a member of both has their frames alone'


def sound_states(records, split: str) -> list[str]:
    """Returns the state of the sound of each clip of a split (track.py); [] if clips.csv of the records has none."""
    path = epath.Path(records) / 'clips.csv'
    table = read_table(path) if path.exists() else {}
    return table['sound'][table['split'] == split].tolist() if 'sound' in table else []


def silent_text(states: Iterable[str]) -> str:
    """Returns a sentence about the clips without sound, '' if all have sound. states: one of each clip."""
    states = [*states]
    n_silent = sum(map(is_silent, states))
    return f'{n_silent} of {len(states)} clips have no sound: {SILENT}' if n_silent else ''
