"""What the augmentations do to one's own clips: a sheet with one frame of the records under every operation.

    chimp-distance augment_sheet --records demo/data --out augmentations.jpg

The sheet docs/augmentations.jpg was made by this command from the demo's records.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from chimp_jax.data import augment, input_pipeline
from data_prep.records import read_records

COLUMNS = 6
CAPTION_PX, GAP_PX = 16, 4


def draw_sheet(picture: np.ndarray, tile_px: int) -> Image.Image:
    """uint8 [H, H, 3] -> the picture and its 17 versions as tiles of tile_px, each below its name and sets."""
    tiles = {'as it is': picture}
    for name in augment.OPERATIONS:
        sets = [key for key, names in augment.OPERATION_SETS.items() if name in names]
        tiles[f'{name}  ({" ".join(sets)})'] = augment.apply_operation(picture[None], name).numpy()[0]
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new('RGB', (COLUMNS * (tile_px + GAP_PX), rows * (tile_px + CAPTION_PX)), 'white')
    draw = ImageDraw.Draw(sheet)
    for index, (caption, tile) in enumerate(tiles.items()):
        x, y = index % COLUMNS * (tile_px + GAP_PX), index // COLUMNS * (tile_px + CAPTION_PX)
        draw.text((x + 2, y + 2), caption, 'black')
        sheet.paste(Image.fromarray(tile).resize((tile_px, tile_px), Image.Resampling.BOX), (x, y + CAPTION_PX))
    return sheet


def middle_frame(records: str, stream: str, video_id: str | None, size_px: int) -> np.ndarray:
    """The frame in the middle of a training clip, the first where none is named: uint8 [size_px, size_px, 3].

    Raises ValueError where there is no such clip.
    """
    for record in read_records(records, stream, 'train'):
        if video_id in (None, record.video_id):
            middle = record.frame_jpeg[len(record.frame_jpeg) // 2]
            return input_pipeline.decode_frame(middle, size_px).numpy()
    raise ValueError(f'{records} has no training clip {video_id or ""} in the stream {stream}')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance augment_sheet', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--records', required=True, help='folder that data_prep.build wrote')
    parser.add_argument('--stream', choices=('down', 'full'), default='full')
    parser.add_argument('--video_id', help='which clip; the first training clip by default')
    parser.add_argument('--size_px', type=int, default=512, help='side of the picture that is augmented')
    parser.add_argument('--out', default='augmentations.jpg')
    return parser


def run(options: argparse.Namespace) -> int:
    picture = middle_frame(options.records, options.stream, options.video_id, options.size_px)
    draw_sheet(picture, tile_px=224).save(options.out, quality=80)
    return 0
