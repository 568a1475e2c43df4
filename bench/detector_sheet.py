"""Draws what the detector finds: python -m bench.detector_sheet CLIPS OUT.jpg [--frames 6] [--per_second 1/2]

A row for each clip of the folder, with evenly spaced frames and their boxes. Prints for each clip the number of frames,
of frames with a box, and of boxes. Counts by eye are written beside them in docs/model-card.md.
"""

import argparse
from fractions import Fraction

import numpy as np
from chimp_jax.models.detector import load_detector
from PIL import Image, ImageDraw

from data_prep.archive import Archive
from data_prep.decoding.decode import decode_at_rate
from data_prep.workers.detector_frames import fitted

_CELL_PX = (320, 200)
_NAME_PX = 14  # height of the line with the clip's name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('clips', help='folder')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--frames', type=int, default=6, help='per clip (default: 6)')
    parser.add_argument('--per_second', type=Fraction, default=Fraction(1), help='frames to search (default: 1)')
    options = parser.parse_args()
    detect, archive = load_detector(), Archive([options.clips])
    rows = []
    print('clip, frames, frames with a box, boxes')
    for name in archive.clips():
        frames = decode_at_rate(archive.find(name), options.per_second, lambda rgb, _: fitted(rgb))
        found = detect(frames.contents)
        n_boxes = [len(one.scores) for one in found]
        print(f'{name}, {len(found)}, {sum(n > 0 for n in n_boxes)}, {sum(n_boxes)}')
        rows.append(_row(name, frames, found, options.frames))
    sheet = Image.new('RGB', (rows[0].width, sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, sum(above.height for above in rows[:i])))
    sheet.save(options.out, quality=85)


def _row(name: str, frames, found, n: int) -> Image.Image:
    """Returns a strip of n evenly spaced frames with their boxes and confidences."""
    width, height = _CELL_PX
    row = Image.new('RGB', (n * width, height + _NAME_PX))
    ImageDraw.Draw(row).text((2, 1), name, 'white')
    chosen = np.unique(np.linspace(0, len(found) - 1, n).round().astype(int))
    for place, i in enumerate(chosen):
        picture = Image.fromarray(frames.contents[i])
        draw = ImageDraw.Draw(picture)
        for box, score in zip(found[i].boxes_px, found[i].scores, strict=True):
            draw.rectangle([float(v) for v in box], outline='red', width=4)
            draw.text((float(box[0]) + 4, float(box[1]) + 2), f'{score:.2f}', 'yellow', font_size=28)
        picture.thumbnail(_CELL_PX)
        row.paste(picture, (place * width, _NAME_PX))
        ImageDraw.Draw(row).text((place * width + 2, _NAME_PX + 2), f'frame {frames.numbers[i]}', 'white')
    return row


if __name__ == '__main__':
    main()
