"""The tensorflow-datasets builder of records, in its own file because it imports TensorFlow."""

import tensorflow as tf
import tensorflow_datasets as tfds


class DeterministicWriter(tfds.core.ExampleWriter):
    """Writes the features of an example in the order of their names.

    tfds serializes a protobuf map in the order of its hash, and protobuf seeds that hash in each process. The bytes of
    the same records would therefore differ from run to run.
    """

    def write(self, path, examples):
        return super().write(path, ((key, _in_order(serialized)) for key, serialized in examples))


class RecordBuilder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
    """Builds a data set from iterators of (key, example) without a class per data set."""

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return DeterministicWriter(self.info.file_format)


def _in_order(serialized: bytes) -> bytes:
    return tf.train.Example.FromString(serialized).SerializeToString(deterministic=True)
