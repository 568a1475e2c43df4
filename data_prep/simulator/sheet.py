"""The contact sheet of the simulated clips."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_prep.decoding.decode import decode_seconds
from data_prep.files import put_in_place
from data_prep.simulator.notes import Sighting
from data_prep.simulator.plan import NAMES, ClipPlan

SHEET_COLUMNS, SHEET_FRAMES, FRAME_PX, CAPTION_PX = 6, 36, (320, 180), 18
BOX_COLOURS = ((255, 210, 0), (0, 220, 255), (255, 90, 160))  # of the animals a, b, c


def write_contact_sheet(out: Path, plans: list[ClipPlan], seen: dict[str, list[Sighting]]):
    """Writes OUT/contact_sheet.png: one frame per site with its true distances.

    If a frame has several animals, their boxes are drawn. Overexposed frames appear twice: as stored, and after gamma
    correction.
    """
    with_labels = [plan for plan in plans if seen[plan.video_id]]
    white = [plan for plan in with_labels if plan.overexposed][:3]
    by_site = {plan.site_id: plan for plan in with_labels[::-1] if not plan.overexposed}
    sites = sorted(by_site.values(), key=lambda plan: plan.number)
    n_sites = min(len(sites), SHEET_FRAMES - 2 * len(white))
    chosen = np.linspace(0, len(sites) - 1, n_sites).round().astype(int)
    shown = [(sites[k], False) for k in chosen] + [(p, gamma) for p in white for gamma in (0, 1)]
    (width, height), n_rows = FRAME_PX, -(-len(shown) // SHEET_COLUMNS)
    size = (SHEET_COLUMNS * width, n_rows * (height + CAPTION_PX))
    sheet = Image.new('RGB', size, (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for k, (plan, gamma) in enumerate(shown):
        sighting = seen[plan.video_id][plan.number % len(seen[plan.video_id])]
        path = str(out / 'full' / plan.video_id)
        _, pictures = decode_seconds(path, [sighting.time_s], gamma=bool(gamma))
        picture = Image.fromarray(pictures[sighting.time_s])
        together = [other for other in seen[plan.video_id] if other.time_s == sighting.time_s]
        if len(together) > 1:
            _draw_boxes(picture, together)
        x, y = k % SHEET_COLUMNS * width, k // SHEET_COLUMNS * (height + CAPTION_PX)
        sheet.paste(picture.resize(FRAME_PX, Image.Resampling.BILINEAR, reducing_gap=2.0), (x, y))
        distances = ', '.join(f'{other.animal} {other.distance_m:.1f} m'.strip() for other in together)
        note = f'{plan.site_id}  {plan.video_id}  {distances}'
        note += ', after gamma' if gamma else ', overexposed' if plan.overexposed else ''
        draw.text((x + 6, y + height + 1), note, fill=(230, 230, 230), font=font)
    part = out / 'contact_sheet.png.part'
    sheet.save(part, format='PNG')
    put_in_place(part, out / 'contact_sheet.png')


def _draw_boxes(picture: Image.Image, sightings: list[Sighting]):
    """Draws the found boxes in place, each in the colour of its animal."""
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for sighting in sightings:
        if sighting.box is not None:
            x1, y1, x2, y2 = sighting.box
            colour = BOX_COLOURS[NAMES.index(sighting.animal)]
            draw.rectangle((x1 * width, y1 * height, x2 * width, y2 * height), outline=colour, width=width // 160)
