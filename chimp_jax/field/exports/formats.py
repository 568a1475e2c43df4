"""The formats for other programs, by the name of --format: what each requires and which files it writes."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import pandas as pd
from etils import epath

from chimp_jax.field import status
from chimp_jax.field.exports import camtrap_dp, distance_flatfile, zamba
from chimp_jax.field.exports.camtrap.media_match import MediaTable
from chimp_jax.field.exports.camtrap.observations import Followed
from chimp_jax.field.exports.camtrap.package import read_package
from chimp_jax.field.exports.completeness import Completeness
from chimp_jax.field.exports.flatfile_check import checked_bins
from chimp_jax.field.exports.redrawn import Redraws
from chimp_jax.field.exports.snapshots import Snapshots
from chimp_jax.field.rows.read import Pieces

FORMATS = ('zamba', 'distance', 'camtrap-dp')
ANIMALS_ALONE = ('distance', 'camtrap-dp')  # their rows are animals; a row of zamba is a second of a clip


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the exports need to know about the survey; None if the user did not give it."""

    deployments: pd.DataFrame | None = None  # of stations.read_deployments
    every_s: int = 1  # seconds between targets
    snapshot_s: int | None = None  # seconds between snapshot moments
    theta_deg: float | None = None  # the camera's angle of view
    cutpoints_m: list[float] | None = None
    truncation_m: float | None = None
    package: str | None = None  # folder or .zip of the user's Camtrap DP
    media_table: MediaTable | None = None  # the medium of each clip in it
    animals_are_known: bool = True  # detections or a table tell in which seconds an animal is, or the user states it
    partial_effort: bool = False  # the effort counts only the moments that were looked at
    species: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of categories.read_species
    completeness: Completeness | None = None  # of the detector
    coverage: float | None = None  # of the intervals
    track_events: bool = False  # Camtrap DP gets one more observation for each track

    def missing(self, format_name: str) -> list[str]:
        """Returns the flags that the format requires and the user did not give."""
        needs = {
            'distance': {'--deployments': self.deployments, '--snapshot': self.snapshot_s, '--theta': self.theta_deg},
            'camtrap-dp': {'--camtrap_package': self.package},
        }
        return [flag for flag, value in needs.get(format_name, {}).items() if value is None]


def check(formats, survey: Survey) -> None:
    """Raises ValueError if a format lacks something, or a flag has an impossible value. Runs before the clips are read.

    A flag is checked even if no format uses it: options.json keeps it for the page.
    """
    for name in formats:
        if missing := survey.missing(name):
            raise ValueError(f'--format {name} needs {" and ".join(missing)}; see docs/exports.md')
    checked_bins(survey.cutpoints_m, survey.truncation_m)
    if survey.theta_deg is not None:
        distance_flatfile.check_theta(survey.theta_deg)
    if survey.snapshot_s is not None:
        distance_flatfile.check_snapshot(survey.snapshot_s, 1 if survey.partial_effort else survey.every_s)
    if 'distance' in formats:
        distance_flatfile.check_stations(survey.deployments)
    if 'camtrap-dp' in formats:
        camtrap_dp.check_view(survey.theta_deg)
        read_package(survey.package)
    animals_alone = [name for name in formats if name in ANIMALS_ALONE]
    if animals_alone and not survey.animals_are_known:
        raise ValueError(
            f'--format {animals_alone[0]} would make every second an animal; give --detections or --targets, or '
            '--every_second_has_an_animal if that is so'
        )


def check_clips(formats, survey: Survey, video_ids, out) -> None:
    """Raises ValueError if a format cannot take the clips. Runs before the clips are decoded.

    video_ids: of the clips with targets. out: the folder of the results.
    """
    if 'camtrap-dp' in formats:
        camtrap_dp.check_merge(video_ids, survey.package, _camtrap_folder(out), survey.media_table)


def write(
    name: str,
    pieces: Iterable[pd.DataFrame],
    clips: pd.DataFrame,
    survey: Survey,
    out,
    now: str,
    snapshots: Snapshots | None = None,
    n_animals: Mapping[tuple[str, int], int] | None = None,
    tracks: Mapping[tuple[str, str], Followed] | None = None,
    boxes: pd.DataFrame | None = None,
    redraws: Redraws | None = None,
) -> dict:
    """Writes one format into the folder `out` and returns the counts of what it wrote.

    pieces: the rows of distances.csv, sorted by clip, each clip in one piece; seconds of known distances are left out,
    because they are no animals. clips: clips.csv.
    now: ISO 8601. snapshots: for `distance`. n_animals: {(video_id, second): boxes of animals there}, for `zamba`.
    tracks: {(video_id, animal): its speed}, for `camtrap-dp`. boxes: video_id, time_s, animal
    of the boxes of tracks that count as animals, for `distance`; None without a detector. redraws: for `distance`.
    """
    out, animals = epath.Path(out), Pieces(lambda: map(status.animal_rows, pieces))
    survey_clips = clips.loc[clips['site'].notna(), 'video_id']  # a target may name any clip
    writers: dict[str, Callable[[], dict]] = {
        'zamba': lambda: zamba.write_zamba(animals, out / 'zamba.csv', _readable_s(clips), n_animals),
        'distance': lambda: distance_flatfile.write_distance(
            Pieces(lambda: (rows[rows['video_id'].isin(survey_clips)] for rows in animals)),
            snapshots=snapshots,
            deployments=survey.deployments,
            snapshot_s=survey.snapshot_s,
            theta_deg=survey.theta_deg,
            out_dir=out,
            cutpoints=survey.cutpoints_m,
            truncation=survey.truncation_m,
            partial_effort=survey.partial_effort,
            boxes=boxes,
            redraws=redraws,
            completeness=survey.completeness,
        ),
        'camtrap-dp': lambda: camtrap_dp.merge_camtrap_dp(
            animals,
            package_dir=survey.package,
            out_dir=_camtrap_folder(out),
            classified_at=now,
            media_table=survey.media_table,
            scientific_names=survey.species,
            tracks=tracks or {},
            track_events=survey.track_events,
            coverage=survey.coverage,
        ),
    }
    return writers[name]()


def _camtrap_folder(out) -> epath.Path:
    return epath.Path(out) / 'camtrap-dp'


def _readable_s(clips: pd.DataFrame) -> dict[str, float]:
    """Returns {video_id: length in seconds} of the clips that can be read."""
    readable = clips[clips['status'] != status.FAILED]
    return readable.set_index('video_id')['duration_s'].dropna().to_dict()
