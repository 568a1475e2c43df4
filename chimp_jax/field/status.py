"""Status words and file names that several commands share."""

from chimp_jax.ensemble import results

# In distances.csv: OK, CORRECTED, or the reason for a missing distance.
OK = results.OK
CORRECTED = 'corrected'  # a person gave the distance
# In clips.csv: OK or one of these.
PARTLY = 'partly'  # some of the targets have no distance
FAILED = 'failed'  # no target has a distance
NO_ANIMAL = 'no animal'  # the detector found no animal in the clip
NOT_LOOKED = 'not looked at'  # the detector's file does not name the clip, or the detector failed on it
NOT_A_CLIP = 'not a clip'  # a video with another suffix than clips have
NOT_ASKED = 'not asked'  # the table of targets does not name the clip
PROBLEMS = (FAILED, PARTLY, NOT_LOOKED, NOT_A_CLIP)

DISTANCES, CORRECTIONS = 'distances.csv', 'corrections.csv'
CLIPS = 'clips.csv'  # a row for each clip; beside trained members: the sites of the training clips
SUMMARY, OPTIONS = 'summary.json', 'options.json'
