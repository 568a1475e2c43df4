"""The plan of training batches: which windows, which augmentation, how many of each in a batch."""

from typing import NamedTuple

from chimp_jax.data.teacher import Teacher


class WindowCut(NamedTuple):
    """How the targets of a clip become examples (data_prep.windows.plan_examples)."""

    n_frames: int  # T, of a window
    step_s: int  # seconds between the frames of a window
    windows_per_example: int  # K windows of neighbouring targets that share frames
    frames_per_example: int  # S distinct frames of these windows


class AnimalCut(NamedTuple):
    """The animals of an example, for a model with a region branch."""

    most: int = 0  # A slots; 0 for a model without a region branch
    composite_probability: float = 0.0  # of an example to get a second animal of the same clip


NO_ANIMALS = AnimalCut()


class Augmentation(NamedTuple):
    """Which random operations a window gets (chimp_jax.data.augment)."""

    operation_set: str
    probability: float


class BatchPlan(NamedTuple):
    """How records become the batches of an epoch. All processes, folds and epochs share it."""

    windows: WindowCut
    augmentation: Augmentation
    size_px: int  # of a frame: size_px x size_px
    batch_size: int  # windows per update, over all devices of all processes
    n_shares: int  # parts of the clips; each gives an equal part of every batch
    shuffle_windows: int  # windows in the shuffle buffers of all shares together
    animals: AnimalCut = NO_ANIMALS
    with_frames: bool = True  # False: the model hears the sound alone, and frames are not decoded
    with_sound: bool = False
    teacher: Teacher | None = None  # whose distances are mixed with the labels; None: labels alone

    @property
    def examples_per_share(self) -> int:
        """Returns the examples that one share gives to a batch. Raises ValueError if the numbers do not divide."""
        k = self.windows.windows_per_example
        if self.batch_size % (k * self.n_shares):
            raise ValueError(
                f'train.batch_size={self.batch_size} is no multiple of '
                f'data.windows_per_example={k} x data.shares={self.n_shares}; change one of them'
            )
        return self.batch_size // k // self.n_shares
