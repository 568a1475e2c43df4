import shutil

import numpy as np
from make_clips import ffmpeg_makes, numbered_frames, write_clip
from PIL import Image

from data_prep.archive import Archive
from data_prep.workers import guard, other_files


def test_videos_with_other_names_are_found_and_nothing_else(tmp_path):
    clip = write_clip(tmp_path / 'a.mp4', numbered_frames(16), 8)
    shutil.copy(clip, tmp_path / 'video')
    shutil.copy(clip, tmp_path / 'IMG_0001.MP4_original')
    ffmpeg_makes(tmp_path / 'old.dat', '-i', clip, '-c:v', 'mpeg2video', '-r', 25, '-f', 'mpeg')
    ffmpeg_makes(tmp_path / 'film.mxf', '-i', clip, '-c:v', 'mpeg2video', '-r', 25)
    shutil.copy(clip, tmp_path / 'small.LRV')  # the camera's small copy of a clip
    # Not videos: text, noise, nothing, sound, a still picture, a clip whose pictures cannot be decoded.
    (tmp_path / 'readme').write_text('a clip ' * 100)
    (tmp_path / 'noise.bin').write_bytes(np.random.default_rng(0).bytes(1 << 16))
    (tmp_path / 'nothing.xyz').touch()
    ffmpeg_makes(tmp_path / 'sound.snd', '-f', 'lavfi', '-i', 'sine=duration=1', '-f', 'mp4', '-c:a', 'aac')
    picture = Image.fromarray(numbered_frames(1)[0])
    picture.save(tmp_path / 'still.jpg_', 'JPEG')
    picture.save(tmp_path / 'frame.img', 'PNG')
    found = other_files.find_videos(Archive([tmp_path]), 2)
    assert list(found) == ['IMG_0001.MP4_original', 'film.mxf', 'old.dat', 'video']
    assert all(reason.startswith('it is a video, but it has no suffix of a clip') for reason in found.values())


def test_a_file_that_crashes_the_library_is_told(tmp_path, monkeypatch):
    (tmp_path / 'bad.xyz').touch()

    def died(function, tasks, *_):
        assert function == 'data_prep.workers.other_files:is_video'
        return [(task, guard.WorkerDied('its worker process crashed (SIGSEGV)')) for task in tasks]

    monkeypatch.setattr(other_files.guard, 'run_guarded', died)
    (reason,) = other_files.find_videos(Archive([tmp_path]), 1).values()
    assert reason.startswith('it may be a video, but its check failed (its worker process crashed (SIGSEGV))')
