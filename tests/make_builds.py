"""Clips, tables and flags for the tests of data_prep.build."""

from pathlib import Path

from make_clips import numbered_frames, write_clip

from data_prep.records import STREAMS


def write_clips(folder: Path) -> Path:
    """Writes tables, two readable train clips with equal stems, an empty clip, and a test clip. Returns the folder."""
    frames = numbered_frames(40)
    for name in ('a.mp4', 'sub/a.mp4', 'b.avi'):
        codec = ('mpeg4' if name.endswith('avi') else 'libx264', 'yuv420p')
        write_clip(folder / 'full' / name, frames, 8, *codec)
        write_clip(folder / 'down' / name, frames[:, ::2, ::2], 8, *codec)
    for stream in STREAMS:
        (folder / stream / 'empty.mp4').touch()
    labels = ['video_id,time,distance']
    labels += [f'{name},{t},{t + 1.5}' for name in ('a.mp4', 'sub/a.mp4') for t in (0, 2, 4)]
    labels += ['empty.mp4,1,2.0', 'missing.mp4,1,2.0', 'a.mp4,bad,2.0']
    (folder / 'train_labels.csv').write_text('\n'.join(labels) + '\n')
    (folder / 'submission_format.csv').write_text('video_id,time,distance\nb.avi,3,1.0\n')
    (folder / 'train_metadata.csv').write_text('video_id,time,park,site_id\na.mp4,0,tai,xy\n')
    return folder


def arguments(clips, out, **changes) -> list[str]:
    """Returns the flags of a build with one worker. An option of None is left out."""
    options = {
        'tables': clips,
        'clips_down': clips / 'down',
        'clips_full': clips / 'full',
        'out': out,
        'n_folds': 2,
        'workers': 1,
    } | changes
    return [f'--{name}={value}' for name, value in options.items() if value is not None]


def contents(out: Path) -> dict[str, bytes]:
    """Returns the bytes of all files but dataset.json, which holds the command."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob('*')
        if path.is_file() and path.name != 'dataset.json'
    }
