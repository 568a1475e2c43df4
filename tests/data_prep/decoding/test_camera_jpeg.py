import io

import av
import numpy as np
import pytest
from make_clips import ffmpeg_makes, write_clip
from PIL import Image

from data_prep.decoding.camera_jpeg import stored_jpeg
from data_prep.decoding.decode import decode_seconds
from data_prep.workers.clip_record import ClipTask, make_records


def pictures(n=24):
    """Smooth pictures, all different."""
    ramp = np.linspace(0, 3, 64)
    waves = [100 + 60 * np.sin(ramp[None, :] * 2 + ramp[:48, None] + number / 4) for number in range(n)]
    return np.stack([np.stack([wave, wave[::-1], 220 - wave], axis=-1) for wave in waves]).astype(np.uint8)


@pytest.fixture(params=['yuvj420p', 'yuvj422p'])
def clip(tmp_path, request):
    return write_clip(tmp_path / 'a.avi', pictures(), 8, 'mjpeg', request.param)


def records(path, **more):
    return make_records(ClipTask('a', None, str(path), [0, 2], **more)).records


def test_a_frame_of_an_mjpeg_clip_is_what_the_camera_wrote(clip):
    import tensorflow as tf

    _, frames = decode_seconds(clip, None)
    stored = records(clip)['full'].frame_jpeg
    assert len(stored) == 3
    for jpeg, frame in zip(stored, frames.values(), strict=True):
        assert jpeg in clip.read_bytes()
        found = tf.io.decode_jpeg(jpeg, channels=3, dct_method='INTEGER_ACCURATE').numpy()
        # Each library spreads the chroma of 2 x 2 pixels in its own way.
        assert np.abs(found.astype(int) - frame).mean() < 3


def test_corrected_and_rotated_frames_are_encoded_again(clip, tmp_path):
    assert all(jpeg not in clip.read_bytes() for jpeg in records(clip, gamma='always')['full'].frame_jpeg)
    turned = ffmpeg_makes(tmp_path / 'a.mov', '-display_rotation', 90, '-i', clip, '-c', 'copy')
    _, frames = decode_seconds(turned, None)
    for jpeg, frame in zip(records(turned)['full'].frame_jpeg, frames.values(), strict=True):
        found = np.asarray(Image.open(io.BytesIO(jpeg)))
        assert found.shape == (64, 48, 3) and np.abs(found.astype(int) - frame).mean() < 4


def first_packet(path):
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        return bytes(packet), packet.decode()[0]


def test_a_packet_that_other_libraries_would_not_read_whole_is_encoded_again(clip):
    packet, frame = first_packet(clip)
    assert stored_jpeg(packet, frame) == packet
    assert stored_jpeg(packet + b'\0\0', frame) == packet  # padded, as in AVI
    assert stored_jpeg(packet[:-40], frame) is None
    assert stored_jpeg(packet.replace(b'\xff\xc4', b'\xff\xfe'), frame) is None  # no Huffman tables
    assert stored_jpeg(packet[:-60] + b'\xff\xd8' + packet[-58:], frame) is None  # a second picture begins
    assert stored_jpeg(b'', frame) is None
    assert stored_jpeg(packet, frame.reformat(format='yuv420p')) is None
