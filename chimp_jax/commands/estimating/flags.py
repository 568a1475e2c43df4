"""The flags of `chimp-distance estimate`."""

import argparse
import dataclasses
import os
from collections.abc import Sequence

from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache, metres_list
from chimp_jax.field.exports import formats
from data_prep.plan import Watch

LONGEST_STEP_S = 3600

DETECTOR_EVERY = 'seconds between the frames of the detector, if its file does not list them but holds all detections'
EVERY_SECOND = 'states that an animal is in view in every second of every clip; for formats without --detections'
OTHERS_EMPTY = 'states that a person watched all clips: a second that --targets does not list has no animal'
PARTIAL_EFFORT = 'the effort of the flat file counts only the snapshot moments that were looked at'


@dataclasses.dataclass(frozen=True)
class EstimateRequest:
    """The flags of `estimate`. options.json keeps them under these names, in this order."""

    clips: str  # folder; local or gs://, as all paths
    members: str  # folder of train.py --workdir
    out: str
    every_s: int | None  # None: 1
    detections: str | None
    min_confidence: float
    targets: str | None
    details: bool
    workers: int
    weights: str
    round: str | None
    compile_cache: str | None
    coverage: float
    calibrate: str | None
    deployments: str | None
    format: Sequence[str]
    snapshot_s: int | None
    theta_deg: float | None
    cutpoints: Sequence[float] | None
    truncation: float | None
    camtrap_package: str | None
    detector_every: float | None
    every_second_has_an_animal: bool
    other_moments_are_empty: bool
    partial_effort: bool
    animals: str | None  # names with commas between them
    species_table: str | None
    media_table: str | None

    def __post_init__(self):
        """Raises ValueError if the flags do not fit each other."""
        if self.every_s is not None and (self.targets or self.detections):
            raise ValueError('--every cannot be used with --targets or --detections, which give the seconds themselves')
        if self.every_s is not None and self.every_s < 1:
            raise ValueError(f'--every must be at least 1 second; got {self.every_s}')
        if self.every_second_has_an_animal and (self.targets or self.detections):
            given = '--detections' if self.detections else '--targets'
            raise ValueError(
                f'--every_second_has_an_animal contradicts {given}, which tells the seconds; leave one out'
            )
        if self.other_moments_are_empty and not self.targets:
            raise ValueError('--other_moments_are_empty needs --targets, the table of the seconds with an animal')
        if self.detector_every is not None and not self.detections:
            raise ValueError('--detector_every needs --detections, the file of the detector')
        if self.detector_every is not None and not 0 < self.detector_every <= LONGEST_STEP_S:
            raise ValueError(
                f'--detector_every={self.detector_every:g}: give seconds, above 0 and up to {LONGEST_STEP_S}'
            )
        if self.partial_effort and 'distance' not in self.format:
            raise ValueError('--partial_effort needs --format distance, whose effort it changes')
        if self.animals is not None and not self.detections:
            raise ValueError('--animals names categories of a detector; give its file with --detections')
        if self.species_table and 'camtrap-dp' not in self.format:
            raise ValueError('--species_table is for --format camtrap-dp; add this format or leave the table out')
        if self.media_table and 'camtrap-dp' not in self.format:
            raise ValueError('--media_table is for --format camtrap-dp; add this format or leave the table out')
        if not 0 < self.coverage < 1:
            raise ValueError(f'--coverage={self.coverage} is not a share; give a number between 0 and 1, such as 0.9')

    @property
    def step_s(self) -> int:
        """Seconds between the targets."""
        return 1 if self.every_s is None else self.every_s

    def watch(self) -> Watch:
        """Returns what the formats need to know about the clips without targets."""
        return Watch(
            lengths='zamba' in self.format,
            frames='distance' in self.format,
            detector_every_s=self.detector_every,
            others_empty=self.other_moments_are_empty,
        )


def add_estimate_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of EstimateRequest to a parser."""
    add = parser.add_argument
    add('clips', metavar='CLIPS', help='folder of the clips; local or gs://')
    add('--members', required=True, help='folder of the trained members (train.py --workdir)')
    add('--out', required=True, help='folder for the results')
    add('--every', type=int, dest='every_s', help='seconds between the targets (default: 1)')
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: the seconds with an animal are the targets')
    add('--min_confidence', '--min-confidence', type=float, default=0.2, help='of a detection (default: 0.2)')
    add('--animals', help='categories of the detector that count, such as "duiker,common chimpanzee" (default: animal)')
    add('--targets', help='CSV with the columns video_id and time: these seconds are the targets')
    add('--details', action='store_true', help='adds a column for each recipe')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode clips (default: all cores)')
    combining.add_combination_flags(parser)
    add_compile_cache(parser)
    add('--coverage', type=float, default=0.9, help='of the interval distance_lower..distance_upper (default: 0.9)')
    add(
        '--calibrate',
        metavar='KNOWN',
        help='CSV video_id,time,distance: 5 or more measured distances for each site; '
        'these seconds need not show an animal',
    )
    add('--deployments', help='CSV of the camera stations; without it each folder of clips is a station')
    add('--format', nargs='+', default=[], choices=formats.FORMATS, help='files for other programs; docs/exports.md')
    add('--snapshot', type=int, dest='snapshot_s', help='seconds between snapshot moments')
    add('--theta', type=float, dest='theta_deg', help="the camera's horizontal angle of view in degrees")
    add('--cutpoints', type=metres_list, help='limits of the distance bins in metres, such as 0,2,4,6,9,13')
    add('--truncation', type=float, help='metres; animals that are farther away are left out')
    add('--camtrap_package', '--camtrap-package', help='your Camtrap DP: its folder or its .zip')
    add('--detector_every', '--detector-every', type=float, metavar='S', help=DETECTOR_EVERY)
    add('--every_second_has_an_animal', '--every-second-has-an-animal', action='store_true', help=EVERY_SECOND)
    add('--other_moments_are_empty', '--other-moments-are-empty', action='store_true', help=OTHERS_EMPTY)
    add('--partial_effort', '--partial-effort', action='store_true', help=PARTIAL_EFFORT)
    add(
        '--species_table',
        '--species-table',
        metavar='CSV',
        help="columns label,scientificName: the detector's names and the scientific names for Camtrap DP",
    )
    add('--media_table', '--media-table', metavar='CSV', help='columns video_id,mediaID: the medium of each clip')
