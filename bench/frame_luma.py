"""Prints the mean luma, 0..255, of the frames of clips: python -m bench.frame_luma FOLDER

The threshold of the flag `dark` was chosen with it.
"""

import sys
from pathlib import Path

import av
import numpy as np

REC_601 = np.array([0.299, 0.587, 0.114])  # luma of RGB


def main() -> None:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.is_file():
            luma = np.array(list(lumas(path)))
            print(f'{path.name}: {len(luma)} s, minimum {luma.min():.1f}, median {np.median(luma):.1f}', flush=True)


def lumas(path: Path):
    """Yields the mean luma of the first frame of every second."""
    last_s = -1
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if int(frame.time or 0) != last_s:
                last_s = int(frame.time or 0)
                yield float((frame.to_ndarray(format='rgb24') @ REC_601).mean())


if __name__ == '__main__':
    main()
