"""The flags of `chimp-distance train`, and the config and the job that they ask for."""

import argparse
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections.config_dict import ConfigDict

from chimp_jax.commands.arguments import add_compile_cache
from chimp_jax.commands.training import config_files  # noqa: F401  (before the config file)
from chimp_jax.commands.training.fields import add_field_flags, take_overrides
from chimp_jax.configs import laptop as standard
from chimp_jax.configs.recipes import ALL, parse_recipe
from data_prep.enhance.spec import FORM, parse_enhancement
from data_prep.inputs.categories import split_names
from data_prep.job import Job

DATA = 'data'  # folder of the records, below that of the members
# Fields that other arguments set.
_SET = ('recipe', 'data.records', 'data.n_folds', *(f'data.{name}' for name in parse_recipe('full-a1p50-f7s1')))


@dataclasses.dataclass(frozen=True)
class TrainRequest:
    """The flags of `train`."""

    labels: str  # the table; local or gs://, as all paths
    clips: tuple[str, ...]  # folders
    out: str
    recipe: str | None  # model ID; None: that of the standard config
    n_folds: int | None  # None: that of the standard config
    detections: str | None
    min_confidence: float
    animals: tuple[str, ...] | None  # categories of the detector
    enhance: str  # of clips of low resolution, as of data_prep.build
    audio: bool  # the records have the sound, also if the members do not hear it
    workers: int
    overrides: Mapping[str, Any]  # {'train.epochs': 4}

    def __post_init__(self):
        """Raises ValueError if a flag is wrong on its own."""
        if self.n_folds is not None and self.n_folds < 2:
            raise ValueError(f'--folds={self.n_folds}: a member is validated on another fold; give 2 or more')
        if self.recipe == ALL:
            raise ValueError(f'--recipe={ALL} names several recipes; give one model ID, such as full-a4p50-f7s1')
        if not epath.Path(self.labels).exists():
            raise ValueError(f'{self.labels} does not exist; give the table with video_id, time, distance and site')
        parse_enhancement(self.enhance)

    @property
    def data(self) -> str:
        """The folder of the records."""
        return _absolute(os.path.join(self.out, DATA))

    def config(self) -> ConfigDict:
        """Returns the standard config with the overrides. Raises ValueError if the model ID is malformed."""
        config = standard.get_config(*([self.recipe] if self.recipe else []))
        config.update_from_flattened_dict(self.overrides)
        config.data.records = self.data
        if self.n_folds:
            config.data.n_folds = self.n_folds
        return config

    def job(self, n_folds: int) -> Job:
        """Returns the job that makes the records."""
        return Job(
            out=self.data,
            clips_full=tuple(map(_absolute, self.clips)),
            tables=self.labels,
            detections=self.detections,
            min_confidence=self.min_confidence,
            animals=self.animals,
            n_folds=n_folds,
            workers=self.workers,
            enhance=self.enhance,
            audio=self.audio or bool(self.overrides.get('model.audio')),
        )


def add_train_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('labels', help='CSV with video_id, time, distance, site, or a folder with the tables of the challenge')
    add('--clips', nargs='+', required=True, help='folders with the clips, local or gs://')
    add('--out', required=True, help='folder of the members; OUT/data gets the records')
    add('--recipe', metavar='MODEL-ID', help=f'default: {standard.get_config().recipe}')
    add(
        '--folds',
        dest='n_folds',
        type=int,
        help=f'number of cross-validation folds, with a member each (default: {standard.get_config().data.n_folds})',
    )
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: the boxes of the animals')
    add('--min_confidence', '--min-confidence', type=float, default=Job.min_confidence, help='of a detection, 0 to 1')
    add('--animals', type=split_names, help='categories of the detector that count (default: animal)')
    add('--enhance', default=Job.enhance, help=f'better pictures of clips of low resolution: {FORM}')
    add('--audio', action='store_true', help='keep the sound in the records; --config.model.audio does so, too')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode clips')
    add_compile_cache(parser)
    add_field_flags(parser, standard.get_config(), but=_SET)


def make_request(options: argparse.Namespace) -> TrainRequest:
    """Returns the request of parsed flags. Raises ValueError if a flag is wrong."""
    given = {name: value for name, value in vars(options).items() if name != 'compile_cache'}
    overrides = take_overrides(given)
    given['clips'] = tuple(given['clips'])
    return TrainRequest(**given, overrides=overrides)


def _absolute(path: str) -> str:
    """Returns the path from the root, so that the same command resumes from another working folder."""
    return path if '://' in path else os.path.abspath(os.path.expanduser(path))
