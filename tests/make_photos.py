"""Makes photos with EXIF data for tests."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image


def write_photo(
    path,
    rgb: np.ndarray | Image.Image,
    time: str | None = None,
    fraction: str | None = None,
    changed: str | None = None,
    orientation: int | None = None,
    **options,
) -> Path:
    """Writes a JPEG or PNG file. time, fraction: DateTimeOriginal and SubSecTimeOriginal. changed: DateTime."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tags, tag, value in (
        (details, ExifTags.Base.DateTimeOriginal, time),
        (details, ExifTags.Base.SubsecTimeOriginal, fraction),
        (exif, ExifTags.Base.DateTime, changed),
        (exif, ExifTags.Base.Orientation, orientation),
    ):
        if value is not None:
            tags[tag] = value
    picture = rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)
    about = {'exif': exif.tobytes()} if dict(exif) or dict(details) else {}
    picture.save(path, **about, **options)
    return path
