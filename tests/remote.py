"""A bucket for tests: gs:// paths are files below a folder, in this process and in those that it starts."""

import os

import fsspec
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

VARIABLE = 'CHIMP_JAX_TEST_BUCKETS'


class Buckets(DirFileSystem):
    """`gs://bucket/name` -> FOLDER/bucket/name."""

    protocol = 'gs'
    cachable = False

    def __init__(self, **_):
        super().__init__(path='/', fs=LocalFileSystem(auto_mkdir=True))

    @property
    def path(self) -> str:
        return os.environ[VARIABLE]  # at each use: etils keeps the file system from test to test

    @path.setter
    def path(self, _) -> None:
        pass

    @classmethod
    def _strip_protocol(cls, path):
        return str(path).removeprefix('gs://').removeprefix('/gs/').rstrip('/')


def register() -> None:
    fsspec.register_implementation('gs', Buckets, clobber=True)
    fsspec.register_implementation('gcs', Buckets, clobber=True)
