"""The page in a browser: its script runs, and every typed value is in corrections.csv. Skipped without Chromium."""

import html
import json
import re
import shutil
import subprocess

import pytest
from make_clips import numbered_frames, write_clip
from make_estimates import write_estimates
from test_page import row

from chimp_jax.field.page.page import write_report

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

# Another page opens the report in a frame, acts as a person would, and notes what there is to see.
ACT = """<iframe id=frame src="PAGE" style="width:390px;height:800px"></iframe><pre id=noted></pre><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
frame.onload = async () => {
  const page = frame.contentDocument, view = frame.contentWindow, note = {};
  page.querySelectorAll('details').forEach(part => { part.open = true; });
  await wait(200);
  const fields = [...page.querySelectorAll('input[data-time]')];
  note.fields = fields.length;
  fields.forEach((field, i) => {
    field.value = i + ',5';
    field.dispatchEvent(new view.Event('input', {bubbles: true}));
  });
  note.keys = fields.map((field, i) => [field.dataset.clip, field.dataset.time, field.dataset.animal || '', i + '.5']);
  note.csv = page.getElementById('csv').value;
  note.bar = !page.getElementById('bar').hidden;
  page.querySelector('button.picture').click();
  const dialog = page.querySelector('dialog');
  note.enlarged = dialog.open && dialog.querySelectorAll('img').length === 1;
  dialog.click();
  note.closed = !dialog.open;
  note.charts = page.querySelectorAll('.chart').length;
  view.dispatchEvent(new view.Event('beforeprint'));  // draws the charts that are not on the screen
  note.lines = [...page.querySelectorAll('.chart svg[role=img] .line')].map(line => line.getAttribute('class'));
  note.names = [...page.querySelectorAll('.chart .end-name')].map(text => text.textContent);
  note.labels = dialog.querySelectorAll('.labels text').length;
  note.wide = [...page.querySelectorAll('.card, .chart')].filter(box => box.scrollWidth > box.clientWidth + 1).length;
  note.page = page.documentElement.scrollWidth;
  noted.textContent = JSON.stringify(note);
};
</script>"""


def look(tmp_path, rows, clips, n_frames) -> dict:
    """What the other page notes about the report of these rows."""
    write_estimates(tmp_path / 'out', rows, clips, options={'clips': str(tmp_path / 'clips')})
    act = tmp_path / 'act.html'
    act.write_text(ACT.replace('PAGE', write_report(tmp_path / 'out', n_frames=n_frames).as_uri()))
    flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--allow-file-access-from-files',
        f'--user-data-dir={tmp_path}/u',
    ]
    command = [BROWSER, *flags, '--virtual-time-budget=5000', '--dump-dom', act.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    return json.loads(html.unescape(re.search('<pre id="noted">(.*?)</pre>', dump, re.DOTALL)[1]))


@pytest.mark.skipif(BROWSER is None, reason='there is no Chromium')
def test_every_typed_value_is_saved_and_a_picture_is_enlarged(tmp_path):
    names = [f's/{i:02d} "x".mp4' for i in range(26)]  # two cards are folded
    for name in names[:2]:
        write_clip(tmp_path / 'clips' / name, numbered_frames(4, 48, 64), 1)
    rows = [row(name, t, 3.0 + t, 0.0, 9.0, spread=1.0) for name in names for t in (0, 3)]
    note = look(tmp_path, rows, [{'video_id': name, 'duration_s': 4} for name in names], 30)
    assert note['fields'] == 52 and note['charts'] == 12 and note['bar']
    assert note['enlarged'] and note['closed']
    quoted = {(name, str(t)): '"' + name.replace('"', '""') + f'",{t}' for name in names for t in (0, 3)}
    expected = {f'{quoted[clip, time]},{metres}' for clip, time, _, metres in note['keys']}
    assert set(note['csv'].strip().split('\n')[1:]) == expected and len(expected) == 52


@pytest.mark.skipif(BROWSER is None, reason='there is no Chromium')
def test_every_animal_has_its_field_its_line_and_its_name(tmp_path):
    write_clip(tmp_path / 'clips' / 'a.mp4', numbered_frames(6, 48, 64), 1)
    box = {'bbox_x': 0.4, 'bbox_y': 0.3, 'bbox_width': 0.2, 'bbox_height': 0.4}
    names = ['1', '<i>2', *map(str, range(3, 21))]
    rows = [
        row('a.mp4', t, 2.0 + k, 1.0, 30.0, spread=1.0, animal=n, **box) for t in (0, 1) for k, n in enumerate(names)
    ]
    rows += [row('a.mp4', 3, 4.0, 3.0, 5.0, animal='1'), row('b.mp4', 0, 4.0, 3.0, 5.0, animal='')]
    note = look(tmp_path, rows, [{'video_id': 'a.mp4', 'duration_s': 6}, {'video_id': 'b.mp4'}], 1)
    assert note['fields'] == 41  # the card of a.mp4: 20 in the picture's second, and those of the other two seconds
    keys = [','.join(key) for key in note['keys']]
    assert set(note['csv'].strip().split('\n')) == {'video_id,time,animal,distance', *keys} and len(set(keys)) == len(
        keys
    )
    assert {key[2] for key in note['keys'] if key[0] == 'a.mp4'} == set(names)
    # Every animal has one run of two seconds. Animal 1 is alone in second 3, after a gap: no line leads there.
    assert len(note['lines']) == len(set(note['lines'])) == 20
    assert set(note['names']) <= set(names) and len(note['names']) >= 8 and note['labels'] >= 3
    assert note['enlarged'] and note['wide'] == 0 and note['page'] <= 390  # nothing is wider than the screen
