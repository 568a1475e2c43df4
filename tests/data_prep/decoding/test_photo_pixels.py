import io
import struct
import zlib

import numpy as np
import pytest
from make_clips import SHARED_CLIPS, write_clip
from make_photos import write_photo
from PIL import Image

from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_at_rate, decode_seconds, picture_times
from data_prep.decoding.photos import MOST_PIXELS, check_photo, read_photo

SCENE = np.kron(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert('RGB'))


# How a viewer turns the stored picture, EXIF 2.32: the place of row 0 and of column 0 in the scene.
TURNS = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],  # top, right
    3: lambda rgb: rgb[::-1, ::-1],  # bottom, right
    4: lambda rgb: rgb[::-1],  # bottom, left
    5: lambda rgb: rgb.swapaxes(0, 1),  # left, top
    6: lambda rgb: rgb[::-1].swapaxes(0, 1),  # right, top
    7: lambda rgb: rgb[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda rgb: rgb[:, ::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('orientation', [*TURNS, 0, 9])
def test_a_photo_is_turned_as_its_exif_data_asks(tmp_path, orientation, suffix):
    path = write_photo(tmp_path / f'x{suffix}', SCENE, orientation=orientation)
    stored = SCENE if suffix == '.png' else pixels(path.read_bytes())
    found = read_photo(path)
    np.testing.assert_array_equal(found.rgb, TURNS.get(orientation, TURNS[1])(stored))
    assert found.fault == ''
    assert (found.jpeg is None) == (suffix == '.png' or orientation in range(2, 9))


def test_the_camera_s_own_jpeg_is_kept_without_what_it_tells(tmp_path):
    path = write_photo(tmp_path / 'a.jpg', SCENE, '2024:03:01 08:00:00', quality=97, comment=b'secret')
    data = path.read_bytes()
    thumbnail = b'Exif\0\0' + data  # a picture in the EXIF data has its own start and end
    whole = data[:2] + b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2) + thumbnail + data[2:] + b'a film after the photo'
    path.write_bytes(whole)
    kept = read_photo(path).jpeg
    assert not any(word in kept for word in (b'Exif', b'secret', b'film', b'2024'))
    np.testing.assert_array_equal(pixels(kept), pixels(data))
    assert kept.startswith(b'\xff\xd8\xff\xe0') and kept.endswith(b'\xff\xd9')
    assert kept[20:] in data  # byte for byte, from the first table on


@pytest.mark.parametrize(
    'picture, options',
    [
        (SCENE, {'progressive': True}),
        (Image.fromarray(SCENE).convert('L'), {}),  # other libraries would return one channel
    ],
    ids=['progressive', 'grey'],
)
def test_other_jpegs_are_encoded_again(tmp_path, picture, options):
    path = write_photo(tmp_path / 'a.jpg', picture, **options)
    found = read_photo(path)
    assert found.jpeg is None
    np.testing.assert_array_equal(found.rgb, pixels(path.read_bytes()))


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGBA'])
def test_pngs_of_any_colours_become_rgb(tmp_path, mode):
    picture = Image.fromarray(SCENE).convert(mode)
    picture.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read_photo(tmp_path / 'a.png').rgb, np.asarray(picture.convert('RGB')))


def png_of(width: int, height: int, depth: int, colours: int) -> bytes:
    """Returns a PNG file with a header and no picture data worth the name."""
    chunks = [
        (b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colours, 0, 0, 0)),
        (b'IDAT', zlib.compress(b'0')),
    ]
    parts = [len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def test_a_photo_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    jpeg = write_photo(tmp_path / 'sound.jpg', SCENE, quality=95).read_bytes()
    png = write_photo(tmp_path / 'sound.png', SCENE).read_bytes()
    cmyk = write_photo(tmp_path / 'cmyk.jpg', Image.fromarray(SCENE).convert('CMYK')).read_bytes()
    gif = io.BytesIO()
    Image.fromarray(SCENE).save(gif, 'GIF')
    middle = jpeg.index(b'\xff\xda') + 400
    side = int(MOST_PIXELS**0.5)
    again, eight = 'copy it again from the card', 'it has 16 bits per colour; save it with 8 bits'
    cases = {
        b'': f'the file is empty; {again}',
        b'text': f'not a JPEG or PNG picture, or its beginning is damaged; {again}',
        gif.getvalue(): f'not a JPEG or PNG picture, or its beginning is damaged; {again}',
        jpeg[:5]: f'not a JPEG or PNG picture, or its beginning is damaged; {again}',
        jpeg[:middle]: 'the photo is cut off or damaged (image file is truncated',
        png[: len(png) // 2]: 'the photo is cut off or damaged (',
        # 0xff and a byte that is neither stuffed nor a restart marker
        jpeg[:middle] + b'\xff\x55' + jpeg[middle + 2 :]: 'the photo is cut off or damaged (broken data stream',
        cmyk: 'its colours are for print (CMYK); save it as an RGB photo',
        png_of(8, 8, 16, 0): eight,
        png_of(8, 8, 16, 2): eight,
        png_of(side + 1, side + 1, 8, 0): 'it claims 8193 x 8193 pixels; save it with 67 million or fewer',
        png_of(100_000, 100_000, 8, 0): 'it claims more than 178 million pixels',
    }
    for data, text in cases.items():
        path = tmp_path / 'x.jpg'
        path.write_bytes(data)
        with pytest.raises(ClipError) as error:
            read_photo(path)
        assert str(error.value).startswith(text) and '\n' not in str(error.value)
    for data in list(cases)[-5:]:  # known before the picture is decoded
        with pytest.raises(ClipError):
            check_photo(io.BytesIO(data))
    check_photo(io.BytesIO(jpeg))
    with pytest.raises(ClipError, match='^no such file$'):
        read_photo(tmp_path / 'gone.jpg')


def test_damaged_exif_data_are_a_fault_and_the_photo_is_read(tmp_path):
    path = write_photo(tmp_path / 'a.jpg', SCENE, '2024:03:01 08:00:00', orientation=6)
    data = path.read_bytes()
    expected = pixels(data)
    place = data.index(b'Exif\0\0') + 6
    for wrong in (b'XX*\0', b'MM*\0\xff\xff\xff\xff'):  # not TIFF; its entries are after the end
        path.write_bytes(data[:place] + wrong + data[place + len(wrong) :])
        found = read_photo(path)
        np.testing.assert_array_equal(found.rgb, expected)
        assert found.fault.startswith('its EXIF data cannot be read, so time and rotation are unknown')
    for empty in ({}, {'exif': Image.Exif().tobytes()}):
        Image.fromarray(SCENE).save(path, **empty)
        assert read_photo(path).fault == ''


def test_a_photo_is_decoded_as_a_clip_with_the_second_0(tmp_path):
    path = write_photo(tmp_path / 'a.JPG', SCENE, orientation=8)
    info, frames = decode_seconds(path, None)
    assert list(frames) == [0] and frames[0].shape == (9 * 16, 6 * 16, 3)
    assert (info.height_px, info.width_px, info.last_s, info.duration_s) == (144, 96, 0, 0)
    assert picture_times(path) == (0,)
    rated = decode_at_rate(path, 2, lambda rgb, _: rgb.shape)
    assert rated.numbers == [0] and rated.times_s == [0.0] and rated.contents == [(144, 96, 3)]
    assert list(decode_seconds(path, [7])[1]) == [0]
    with pytest.raises(ValueError, match='the list of seconds is empty'):
        decode_seconds(path, [])


def test_gamma_is_that_of_a_clip(tmp_path):
    # A lossless clip with the luma of video, 16 to 235, as almost all clips have.
    frames = np.repeat(SCENE[None] // 8 + 220, 2, axis=0)
    clip = write_clip(tmp_path / 'a.mkv', frames, 1, 'ffv1', 'yuv444p')
    photo = write_photo(tmp_path / 'a.png', frames[0])
    expected = decode_seconds(clip, [0], gamma=True)[1][0].astype(int)
    plain, corrected = (read_photo(photo, gamma).rgb.astype(int) for gamma in (False, True))
    assert np.abs(plain - decode_seconds(clip, [0])[1][0]).max() <= 2
    assert np.abs(corrected - expected).mean() < 1 and np.abs(corrected - plain).mean() > 50


@pytest.mark.skipif(not SHARED_CLIPS.exists(), reason='../shared/data is absent')
def test_frames_of_a_real_clip_come_back(tmp_path):
    _, frames = decode_seconds(SHARED_CLIPS / 'chimp.mp4', [3])
    found = read_photo(write_photo(tmp_path / 'a.jpg', frames[3], quality=95))
    assert np.abs(found.rgb.astype(int) - frames[3]).mean() < 4
