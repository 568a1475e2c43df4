"""Reads an entry of a stranger's zip file without taking more memory than the entry says it has."""

import zipfile


def read_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Returns an entry's content. Raises BadZipFile or another error of zipfile if it is damaged.

    The caller has checked entry.file_size. ZipFile.read would unpack all compressed bytes at once, up to 2 GB, before
    it cuts the content to this size; a limited read unpacks no more than it returns.
    """
    with opened.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise zipfile.BadZipFile(f'{len(content)} bytes instead of {entry.file_size}')
    return content
