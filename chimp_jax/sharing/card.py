"""The model card of a recipe in a package, in Markdown, filled in from the folders of its members."""

import json
from collections.abc import Sequence

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import read_predictions
from chimp_jax.field.bins import CUTPOINTS_M
from chimp_jax.field.evaluate import band_errors
from chimp_jax.field.status import CLIPS
from chimp_jax.members import Member
from chimp_jax.sharing.new_member import MEMBER, OOF, read_provenance
from data_prep.inputs.tables import read_table


def write_card(members: Sequence[Member], anonymous: bool) -> str:
    """Returns the card of one recipe's members. anonymous: the card says that the names are replaced."""
    folder, config = members[0].folder.parent, members[0].config
    rows = _oof_rows(members)
    parts = [
        f'# {members[0].recipe}',
        'Distances in metres from the camera to animals in camera-trap clips, by chimp_jax. The method is the third '
        'place of the Deep Chimpact challenge (I. Ivanov, 2021).',
        _use(),
        *_training_data(folder, rows, members, anonymous),
        '## Settings',
        _table(['setting', 'value'], _settings(members[0])),
        '## Errors',
        *_errors(members, rows, config.data),
        '## Where the members come from',
        _table(['member', 'made by'], [(f'fold {member.fold}', _origin(member)) for member in members]),
    ]
    return '\n\n'.join(parts) + '\n'


def _use() -> str:
    return (
        '    chimp-distance unpack PACKAGE --out runs\n    chimp-distance estimate CLIPS --members runs --out distances'
    )


def _oof_rows(members: Sequence[Member]) -> pd.DataFrame:
    """Returns video_id, distance and prediction of all members' OOF rows; no row if they have none."""
    paths = [member.folder / OOF for member in members]
    tables = [read_predictions(path, ['distance', 'prediction']) for path in paths if path.exists()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({'video_id': [], 'distance': []})


def _training_data(folder: epath.Path, rows: pd.DataFrame, members: Sequence[Member], anonymous: bool) -> list[str]:
    lines = ['## Training data']
    if any(member.simulated for member in members):
        lines.append(
            '**Simulated animals only.** On real clips the distances of these members mean nothing.',
        )
    if rows.empty:
        lines.append('Unknown here: the members have no out-of-fold predictions.')
        return lines
    known, clips = rows['distance'].dropna(), set(rows['video_id'])
    lines.append(
        f'{len(rows)} distances of {len(clips)} clips in the folds of these members, from {known.min():g} to '
        f'{known.max():g} m, median {known.median():g} m. {_sites_line(folder / CLIPS, clips)}'
    )
    if anonymous:
        lines.append(
            'The names of clips, sites, parks and animals are replaced, and paths are left out. Distances and seconds '
            'are the original ones.'
        )
    return lines


def _sites_line(path: epath.Path, clips: set[str]) -> str:
    if not path.exists():
        return 'Their sites are unknown.'
    table = read_table(path, ['video_id', 'site', 'park']).set_index('video_id')
    site = table['site'].reindex(sorted(clips)).fillna('')
    n_unknown = int((site == '').sum())
    unknown = f'; {n_unknown} clips have no known site' if n_unknown else ''
    return f'They are from {site[site != ""].nunique()} sites{unknown}.'


def _settings(member: Member) -> list[tuple[str, object]]:
    data, model = member.config.data, member.config.model
    return [
        ('stream', data.stream),
        ('frames in a window', f'{data.n_frames}, {data.step_s} s apart'),
        ('frame size', f'{data.size_px} x {data.size_px} px'),
        ('augmentation', f'{data.augmentation}, probability {data.augmentation_probability:g}'),
        ('backbone', model.backbone),
        ('normalization', model.normalization),
        ('over the frames of a window', f'LSTM of {model.lstm_units}' if model.temporal == 'lstm' else model.temporal),
        ('frames of its records cut by', member.sampling or 'unknown'),
        ('gamma correction of its records', member.gamma or 'unknown'),
        ('enhancement of its records', member.enhance or 'off'),
        ('sound', model.audio or 'not used'),
        ('dense units', str(model.dense_units)),
        ('a distance for each animal', 'yes' if model.regions else 'no, one for each second'),
    ]


def _errors(members: Sequence[Member], rows: pd.DataFrame, data) -> list[str]:
    errors = {member.fold: json.loads((member.folder / MEMBER).read_text()).get('val_mae') for member in members}
    told = [
        (
            f'fold {member.fold}',
            member.best_epoch,
            'unknown' if errors[member.fold] is None else f'{errors[member.fold]:.4f} m',
        )
        for member in members
    ]
    digests = ', '.join(sorted({member.folds_sha256 or 'unknown' for member in members}))
    parts = [
        f'{len(members)} of {data.n_folds} members (folds by {data.folds}; SHA-256 of the folds: {digests}).',
        _table(['member', 'epoch', 'validation MAE'], told),
    ]
    if rows.empty:
        return [*parts, 'No out-of-fold predictions, so there are no intervals.']
    bands = band_errors(rows['prediction'], rows['distance'], CUTPOINTS_M)
    error = (rows['prediction'].clip(lower=0) - rows['distance']).abs().mean()
    parts.append(f'Out of fold, the mean absolute error is {error:.4f} m on {len(rows)} rows. By true distance:')
    parts.append(
        _table(['band', 'rows', 'MAE', 'bias'], [(b.name, b.n, f'{b.mae:.2f} m', f'{b.bias:+.2f} m') for b in bands])
    )
    if data.folds != 'site':
        parts.append('The folds share sites, so the errors at new sites are larger.')
    return parts


def _origin(member: Member) -> str:
    """Returns how a member was made, without paths."""
    found = read_provenance(member.folder)
    path = member.folder / 'run.json'
    if found:
        return _told_provenance(found)
    starts = json.loads(path.read_text()) if path.exists() else []
    if not starts:
        return 'training with chimp_jax; nothing more is known'
    last = starts[-1]
    versions = ', '.join(f'{name} {version}' for name, version in last.get('versions', {}).items())
    revision = f', git {last["git"]}' if last.get('git') else ''
    return (
        f'training until {last.get("time")} on {last.get("devices")} x {last.get("device_kind")}{revision}; {versions}'
    )


def _told_provenance(found: dict) -> str:
    if 'package' in found:  # unpacked, perhaps from a package of an imported member
        before = f'; before: {_told_provenance(found["before"])}' if found.get('before') else ''
        package = found['package']
        return f'package {package.get("file")}, SHA-256 {package.get("sha256")}, unpacked {found.get("date")}{before}'
    source = f' from {found["source"]}' if found.get('source') else ''
    return f'import of {found.get("file")}{source}, SHA-256 {found.get("sha256")}, on {found.get("date")}'


def _table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(_cell(cell) for cell in line)} |' for line in lines)


def _cell(value) -> str:
    return ' '.join(str(value).split()).replace('|', r'\|')
