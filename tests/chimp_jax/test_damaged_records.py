"""A frame in the records that cannot be decoded is told with its clip."""

import dataclasses

import pytest
import small

from chimp_jax import answers


@pytest.mark.parametrize('jpeg', [b'', b'no JPEG', b'\xff\xd8\xff\xe0'])
def test_a_damaged_frame_is_told_with_its_clip(jpeg):
    sound, other = small.record('a.mp4', 4, [0], 1), small.record('b.mp4', 4, [0], 2)
    damaged = dataclasses.replace(other, frame_jpeg=[*other.frame_jpeg[:2], jpeg, *other.frame_jpeg[3:]])
    assert answers._frames([sound, other], 32).shape == (8, 32, 32, 3)
    with pytest.raises(ValueError, match=r'^b\.mp4: a frame in the records is damaged; prepare the data again'):
        answers._frames([sound, damaged], 32)
