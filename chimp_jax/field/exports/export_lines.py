"""What an export wrote, in words for the screen."""

from collections.abc import Mapping

from chimp_jax.field.exports.distance_flatfile import FLATFILE, SCRIPT
from chimp_jax.field.exports.distance_script import REDRAWS
from chimp_jax.field.label_tables import named

_REASONS = {  # of rows that were left out
    'between snapshot moments': 'seconds were not snapshot moments',
    'not in the frame of the moment': 'distances are of animals that are elsewhere in the second of a snapshot moment',
    'no distance': 'animals at snapshot moments have no distance, which lowers the density',
    'nearer than the first cutpoint': 'distances are nearer than the first cutpoint',
    'photos': 'distances belong to photos, which are no snapshot moments',
    'beyond the truncation': 'distances are beyond the last cutpoint or the truncation',
    'clip not in media.csv': 'distances belong to clips without a medium in your package',
    'medium without an animal': 'distances belong to media that you classified as human, vehicle or blank',
}
_MOMENTS = {  # counts of snapshots.Snapshots, of which none should be above 0
    'not looked at': 'snapshot moments were not looked at, and the effort is lower by their share',
    'clips with unknown length': 'clips cannot be read, and nobody knows their snapshot moments',
    'with several animals': 'snapshot moments have several animals but one distance, so the density is too low',
}
_UNLIKE = 'estimates unlike the out-of-fold rows'
_DOUBTS = (  # names of counts
    'stations not looked at',
    'kinds of animal',
    'clips not in media.csv',
    'clips matched by their name alone',
    'faults of datapackage.json',
    _UNLIKE,
)


def describe_export(name: str, counts: Mapping, out) -> str:
    """Returns a line for the screen.

    name: of formats.FORMATS. counts: what formats.write returned. out: the folder of the results.
    """
    parts = {'distance': _distance, 'zamba': _zamba, 'camtrap-dp': _camtrap_dp}[name](counts)
    left_out = counts.get('left out', {})
    parts += [f'{n} {_REASONS.get(reason, reason)}' for reason, n in left_out.items() if n and reason in _REASONS]
    parts += [f'left out, {reason}: {n}' for reason, n in left_out.items() if n and reason not in _REASONS]
    after = f' Next: cd {out} && Rscript {SCRIPT}' if counts.get('observations') else ''
    return f'{"; ".join(parts)}.{after}'


def is_doubtful(counts: Mapping) -> bool:
    """Returns whether something is missing or may be wrong in an export. counts: what formats.write returned."""
    return any(counts.get(name) for name in _DOUBTS) or any(_moment_lines(counts.get('moments', {})))


def _distance(counts: Mapping) -> list[str]:
    n_with = counts['stations'] - counts['stations without any']
    return [f'{FLATFILE}: {counts["observations"]} observations at {n_with} of {counts["stations"]} stations'] + [
        *_moment_lines(counts.get('moments', {})),
        *_kind_lines(counts.get('kinds of animal', {})),
        *(
            f'nobody looked at the station {name}, which is left out'
            for name in counts.get('stations not looked at', [])
        ),
        *_completeness_lines(counts.get('completeness')),
        *([f'{counts["redraws"]} tables with redraws in {REDRAWS}'] if 'redraws' in counts else []),
        *(
            [f'{counts[_UNLIKE]} of the estimates are beyond all out-of-fold estimates, so the redraws may be wrong']
            if _UNLIKE in counts
            else []
        ),
    ]


def _completeness_lines(table: Mapping[str, list[float]] | None) -> list[str]:
    if table is None:
        return []
    shares, metres = table['completeness'], table['distance']
    told = ', '.join(f'{share:.3g} at {at_m:g} m' for share, at_m in zip(shares, metres, strict=True))
    rises = [at_m for at_m, share, before in zip(metres[1:], shares[1:], shares, strict=False) if share > before]
    check = f'; it rises up to {rises[-1]:g} m, though detectors miss more far animals: check it' if rises else ''
    return [f'completeness of the detector: {told}{check}']


def _kind_lines(kinds: Mapping[str, int]) -> list[str]:
    counted = ', '.join(f'{label} {n}' for label, n in kinds.items())
    return [f'it counts several kinds as one ({counted}): run again for each kind with --animals'] if kinds else []


def _moment_lines(moments: Mapping[str, int]) -> list[str]:
    return [f'{moments[name]} {text}' for name, text in _MOMENTS.items() if moments.get(name)]


def _zamba(counts: Mapping) -> list[str]:
    return [f'zamba.csv: {counts["rows"]} rows, {counts["with a distance"]} with a distance']


def _camtrap_dp(counts: Mapping) -> list[str]:
    before = f', {counts["replaced"]} of an earlier run replaced' if counts['replaced'] else ''
    lines = [f'camtrap-dp: {counts["observations added"]} observations added to your {counts["kept"]}{before}']
    if n := counts.get('events added'):
        lines.append(f'{n} observations of whole tracks added')
    if n := counts.get('events without a first distance'):
        lines.append(f'{n} tracks have no distance in their first second, so their radius is of a later second')
    if n := counts.get('events beside yours'):
        lines.append(
            f'{n} tracks are in media of which you have event-based observations of animals: do not sum their counts '
            'with yours'
        )
    if n := counts.get('several species'):
        lines.append(f'{n} of them have no scientificName, because you named several animals in their media or events')
    if clips := counts.get('clips not in media.csv'):
        lines.append(f'clips without a medium: {named(clips)}')
    if clips := counts.get('clips matched by their name alone'):
        lines.append(f'matched by the file name alone (check these clips, or give --media_table): {named(clips)}')
    if changes := counts.get('changes of datapackage.json'):
        lines.append(f'datapackage.json: {", ".join(changes)}')
    if faults := counts.get('faults of datapackage.json'):
        lines.append(
            f'your datapackage.json differs from Camtrap DP in {len(faults)} places (summary.json lists them), first: '
            f'{faults[0]}; correct it where you exported the package'
        )
    return lines
