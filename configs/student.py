"""One student for an ensemble: a member that learns the ensemble's distances, at the cost of one member.

    python predict.py --members=runs --records=data --split=teacher --out=teacher.csv
    python train.py --config=configs/student.py:full-a4p50-f7s1 --workdir=students --folds=0 \\
        --config.data.records=data --config.data.teacher=teacher.csv --config.start.init=runs/full-a4p50-f7s1

The first command predicts every second of all clips. The training clips are predicted out of fold, so that no member
predicts a clip that it was trained on. Clips without labels are the split `test` of the records, or another folder:
--unlabelled=more in the first command, --config.data.unlabelled=more in the second.

Differences from the published recipe, with the reasons:

- Folds by site. A student is for new clips, often of new stations, and its error must be the error there.
- Windows of four neighbouring seconds share their frames. The teacher has a distance for every second, so four windows
  need 10 frames in place of 28.
- Ten epochs with warm-up and decay. Such a student starts from a trained member (--config.start.init), and every epoch
  has a distance for each second in place of each labelled one.
- A target with a label learns the mean of the label and the teacher's distance (data.teacher_share).

The validation error is computed from the labels alone. The teacher's members knew some of the labels, so the error is a
little too low for new sites. A folder of students must be another one than the folder of the teacher's members, because
an ensemble should not contain its own student.
"""

from ml_collections.config_dict import ConfigDict

from configs import base
from configs.recipes import ALL

_WINDOWS = 4  # of an example


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID. Raises ValueError for `all`: a student is one recipe."""
    if recipe == ALL:
        raise ValueError('a student is one recipe; name a model ID in place of all, such as full-a4p50-f7s1')
    config = base.get_config(recipe)
    data = config.data
    data.update(folds='site', windows_per_example=_WINDOWS)
    data.frames_per_example = (data.n_frames - 1) * data.step_s + _WINDOWS  # of four seconds in a row
    config.train.update(epochs=10, warmup_steps=100, decay_fraction=0.4)
    return config
