"""Shows what the augmentations do to your clips: a sheet with one frame of the records under each operation.

    chimp-distance augment_sheet --records demo/data --out augmentations.jpg

This command made docs/augmentations.jpg from the demo's records.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from chimp_jax.data import augment
from chimp_jax.data.frames import decode_frame
from chimp_jax.data.operations import OPERATION_SETS
from data_prep.records import read_records

COLUMNS = 6
CAPTION_PX, GAP_PX = 16, 4


def draw_sheet(picture: np.ndarray, tile_px: int) -> Image.Image:
    """uint8 [H, H, 3] -> tiles of tile_px: the picture and its version under each operation, with name and sets."""
    tiles = {'original': picture}
    for name in augment.OPERATIONS:
        sets = [key for key, names in OPERATION_SETS.items() if name in names]
        tiles[f'{name}  ({" ".join(sets)})'] = augment.apply_operation(picture[None], name).numpy()[0].astype(np.uint8)
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new('RGB', (COLUMNS * (tile_px + GAP_PX), rows * (tile_px + CAPTION_PX)), 'white')
    draw = ImageDraw.Draw(sheet)
    for index, (caption, tile) in enumerate(tiles.items()):
        x, y = index % COLUMNS * (tile_px + GAP_PX), index // COLUMNS * (tile_px + CAPTION_PX)
        draw.text((x + 2, y + 2), caption, 'black')
        sheet.paste(Image.fromarray(tile).resize((tile_px, tile_px), Image.Resampling.BOX), (x, y + CAPTION_PX))
    return sheet


def middle_frame(records: str, stream: str, video_id: str | None, size_px: int) -> np.ndarray:
    """Returns the middle frame of a training clip: uint8 [size_px, size_px, 3].

    video_id: None for the first clip. Raises ValueError if the records have no such clip.
    """
    for record in read_records(records, stream, 'train'):
        if video_id in (None, record.video_id):
            middle = record.frame_jpeg[len(record.frame_jpeg) // 2]
            return decode_frame(middle, size_px)
    wanted = 'no training clip' if video_id is None else f'no training clip {video_id}'
    raise ValueError(f'{records} has {wanted} in the stream {stream}; give the folder that data_prep.build wrote')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance augment_sheet', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--records', required=True, help='folder that data_prep.build wrote')
    parser.add_argument('--stream', choices=('down', 'full'), default='full', help='default: full')
    parser.add_argument('--video_id', help='a training clip (default: the first)')
    parser.add_argument('--size_px', type=int, default=512, help='side of the augmented picture (default: 512)')
    parser.add_argument('--out', default='augmentations.jpg', help='picture to write')
    return parser


def run(options: argparse.Namespace) -> int:
    picture = middle_frame(options.records, options.stream, options.video_id, options.size_px)
    draw_sheet(picture, tile_px=224).save(options.out, quality=80)
    return 0
