"""Damaged clips of every container and codec that ffmpeg can write here: the build gives each a row."""

import io
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.hostile.damage import KINDS, damage
from bench.hostile.sandbox import Sandbox
from data_prep.archive import is_clip
from data_prep.inputs.tables import read_table
from data_prep.records import read_records

_LIMIT_S = 3600.0
_SEEN_DIFFERENCE = 12.0  # a larger mean absolute difference of channel values means another picture
_SECONDS, _RATE = 8, 5
PICTURES = f'testsrc2=size=160x120:rate={_RATE}:duration={_SECONDS},hue=H=2*PI*floor(t)/{_SECONDS}'
_X264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p'
# name: flags of ffmpeg. What this ffmpeg lacks is left out and told.
SOUND = {
    'h264.mp4': _X264,
    'fragments.mp4': f'{_X264} -movflags +frag_keyframe+empty_moov',
    'bframes.mov': '-c:v libx264 -preset fast -bf 3 -pix_fmt yuv420p',
    'h265.mp4': '-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=none',
    'av1.mp4': '-c:v libaom-av1 -cpu-used 8 -pix_fmt yuv420p',
    'svt.mkv': '-c:v libsvtav1 -preset 12 -pix_fmt yuv420p',
    'mpeg4.mp4': '-c:v mpeg4 -q:v 3',
    'mjpeg.mov': '-c:v mjpeg -q:v 3 -pix_fmt yuvj420p',
    'prores.mov': '-c:v prores',
    'mjpeg.avi': '-c:v mjpeg -q:v 3 -pix_fmt yuvj420p',
    'mpeg4.avi': '-c:v mpeg4 -q:v 3',
    'msmpeg4.avi': '-c:v msmpeg4 -q:v 3',
    'h264.avi': _X264,
    'raw.avi': '-c:v rawvideo -pix_fmt yuv420p',
    'huffyuv.avi': '-c:v huffyuv',
    'h264.mkv': _X264,
    'vp9.mkv': '-c:v libvpx-vp9 -deadline realtime',
    'ffv1.mkv': '-c:v ffv1',
    'vp8.webm': '-c:v libvpx -deadline realtime -b:v 500k',
    'wmv2.wmv': '-c:v wmv2 -q:v 3',
    'wmv1.asf': '-c:v wmv1 -q:v 3',
    'flv1.flv': '-c:v flv1 -q:v 3',
    'mpeg1.mpg': '-c:v mpeg1video -r 25 -q:v 3',
    'mpeg2.mpg': '-c:v mpeg2video -r 25 -q:v 3',
    'h264.ts': _X264,
    'mpeg2.m2ts': '-c:v mpeg2video -r 25 -q:v 3',
    'h264.mts': _X264,
    'theora.ogv': '-c:v libtheora -q:v 7',
    'h263.3gp': '-c:v h263 -s 176x144 -q:v 3',
    'h264.h264': _X264,
}


def write_sound(ffmpeg: str, folder: Path, more: Sequence[Path]) -> list[str]:
    """Writes the undamaged clips and a photo. Returns the names that this ffmpeg cannot write.

    more: folders of further clips, which are copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (path for place in more for path in place.rglob('*') if is_clip(path.name)):
        shutil.copyfile(path, folder / path.name)
    left_out = []
    for name, flags in {**SOUND, 'photo.jpg': '-frames:v 1 -q:v 3'}.items():
        command = [ffmpeg, '-v', 'error', '-y', '-f', 'lavfi', '-i', PICTURES, *flags.split(), str(folder / name)]
        if subprocess.run(command, capture_output=True).returncode:
            (folder / name).unlink(missing_ok=True)
            left_out.append(name)
    return left_out


def write_damaged(sound: Path, folder: Path, n: int, draw: random.Random, port: int) -> dict[str, str]:
    """Writes n damaged clips below `folder`. Returns {video_id: name of the undamaged clip, else ''}."""
    contents = {path.name: path.read_bytes() for path in sorted(sound.iterdir())}
    sources = {}
    for number in range(n):
        kind = 'other formats' if number % 50 == 0 else draw.choice(KINDS)
        name = draw.choice(sorted(contents))
        path = folder / kind / f'{number:05d}_{name}'
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == 'other formats':
            path.write_bytes(draw.choice(_others(port)))
        else:
            path.write_bytes(damage(kind, contents[name], contents[draw.choice(sorted(contents))], draw))
        sources[f'{kind}/{path.name}'] = '' if kind == 'other formats' else name
    return sources


def _others(port: int) -> list[bytes]:
    """Returns contents of other formats, which make video libraries open other files or connections."""
    url, local = f'http://127.0.0.1:{port}/', 'file:///etc/hostname'
    return [
        b'',
        b'\0' * 100_000,
        f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}a.ts\n#EXT-X-ENDLIST\n'.encode(),
        f'#EXTM3U\n#EXT-X-MAP:URI="{local}"\n#EXTINF:9,\n{local}\n#EXT-X-ENDLIST\n'.encode(),
        f'ffconcat version 1.0\nfile {url}a.mp4\nfile /etc/hostname\n'.encode(),
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>'.encode(),
        f'v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n'.encode(),
        f'[playlist]\nFile1={url}\n'.encode(),
        f'RTSPtextRTSP://127.0.0.1:{port}/a'.encode(),
        b'GIF89a' + b'\xff' * 5000,
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="%s"/></svg>' % url.encode(),
    ]


def run_clips(sandbox: Sandbox, ffmpeg: str, n: int, seed: int, more: Sequence[Path] = ()) -> dict:
    """Builds records of n damaged clips. Returns counts, and faults by clip or by run."""
    folder = sandbox.folder / 'clips'
    left_out = write_sound(ffmpeg, folder / 'sound', more)
    sources = write_damaged(folder / 'sound', folder / 'damaged', n, random.Random(seed), sandbox.server.port)
    faults = []
    for name in ('sound', 'damaged'):
        command = ['-m', 'data_prep.build', f'--clips_full={folder / name}', f'--out={folder / "out" / name}']
        watched = sandbox.run([*command, '--workers=2', '--memory=4GB'], _LIMIT_S)
        if watched.code not in (0, 3) or 'Traceback' in watched.printed:
            faults.append(f'{name}: exit code {watched.code}: {watched.printed[-500:]}')
        faults += [f'{name}: {fault}' for fault in watched.faults]
    counts, more = survey(sources, folder / 'out' / 'sound', folder / 'out' / 'damaged')
    peak_gb = round(watched.peak_bytes / 1e9, 2)
    about = {'files': n, 'seconds': round(watched.seconds), 'peak_gb': peak_gb, 'not written here': left_out}
    return about | counts | {'faults': faults + more}


def survey(sources: Mapping[str, str], sound_out: Path, out: Path) -> tuple[dict, list[str]]:
    """Returns counts and faults: clips without a row, crashes, hangs, and wrong seconds that no row tells of."""
    clips = read_table(out / 'clips.csv', ['video_id', 'doubtful']).set_index('video_id')
    problems = read_table(out / 'problems.csv', ['video_id', 'reason']).set_index('video_id')
    faults = [f'{name}: has no row' for name in sources if name not in clips.index and name not in problems.index]
    bad = problems['reason'].str.contains('crashed|not finished|was killed|took more than')
    faults += [f'{name}: {reason}' for name, reason in problems.loc[bad, 'reason'].items()]
    sound = {record.video_id: _frames(record) for record in read_records(sound_out, 'full', 'test')}
    counts = Counter()
    for record in read_records(out, 'full', 'test'):
        doubted = record.video_id in problems.index or clips.loc[record.video_id, 'doubtful'] != ''
        expected = sound.get(sources[record.video_id])
        wrong = set() if expected is None else _changed(_frames(record), expected) & {*record.target_time_s.tolist()}
        counts['decoded and doubted' if doubted else 'decoded and not doubted'] += 1
        counts['kept seconds'] += len(record.target_time_s)
        if wrong and not doubted:
            counts['wrong seconds unnoticed'] += len(wrong)
            counts['clips with wrong seconds unnoticed'] += 1
            counts[f'wrong unnoticed: {record.video_id.split("/")[0]}, {sources[record.video_id]}'] += 1
    return {'records': len(clips), 'problems': len(problems), 'counts': dict(sorted(counts.items()))}, faults


def _frames(record) -> dict[int, np.ndarray]:
    """Returns the decoded frames of a record by second."""
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg)).convert('RGB'), np.int16) for jpeg in record.frame_jpeg]
    return dict(zip(record.frame_time_s.tolist(), pictures, strict=True))


def _changed(found: Mapping[int, np.ndarray], expected: Mapping[int, np.ndarray]) -> set[int]:
    """Returns the seconds whose pictures differ from those of the undamaged clip."""
    return {
        second
        for second, picture in found.items()
        if second not in expected
        or picture.shape != expected[second].shape
        or abs(picture - expected[second]).mean() > _SEEN_DIFFERENCE
    }
