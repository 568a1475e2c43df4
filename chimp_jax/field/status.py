"""Status words and file names that several commands share."""

import pandas as pd

from chimp_jax.ensemble import results

# In distances.csv: OK, CORRECTED, or the reason for a missing distance.
OK = results.OK
CORRECTED = 'corrected'  # a person gave the distance
KNOWN = 'known distance'  # a second that is a target for --calibrate alone, with its measured distance: no animal
# In clips.csv: OK or one of these.
PARTLY = 'partly'  # some of the targets have no distance
FAILED = 'failed'  # no target has a distance
NO_ANIMAL = 'no animal'  # the detector found no animal in the clip
NOT_LOOKED = 'not looked at'  # the detector's file does not name the clip, or the detector failed on it
NOT_A_CLIP = 'not a clip'  # a video with another suffix than clips have
NOT_ASKED = 'not asked'  # the table of targets does not name the clip
PROBLEMS = (FAILED, PARTLY, NOT_LOOKED, NOT_A_CLIP)

DISTANCES_NAME, TRACKS_NAME = 'distances', 'tracks'  # tables that may be in parts: see chimp_jax/field/rows
DISTANCES, CORRECTIONS = f'{DISTANCES_NAME}.csv', 'corrections.csv'
CLIPS = 'clips.csv'  # a row for each clip; beside trained members: the sites of the training clips
SUMMARY, OPTIONS = 'summary.json', 'options.json'
DETECTIONS = 'detections.json'  # the boxes that --detect finds, in MegaDetector's format
BOXES = 'boxes.csv'  # each box with its distance from the ground
TRACKS = f'{TRACKS_NAME}.csv'  # a row for each animal that was followed; missing without boxes
STATIONS = 'stations.json'  # the ground of each station; missing if the run had no calibration by the ground


def animal_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of distances.csv that are animals: all but those with the status KNOWN."""
    return rows[rows['status'] != KNOWN]
