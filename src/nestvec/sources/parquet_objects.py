"""Read vectors from Parquet files on object storage, without copies on this machine.

``s3://bucket/folder/*.parquet`` names the files of one folder, in the order of their names, and
``s3://bucket/file.parquet`` one file. ``s3://bucket/prefix?table=docs`` is a Lance table.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial

from nestvec.errors import DataError, InvalidArgument
from nestvec.files.object_storage import Bucket
from nestvec.sources.arrow_files import open_parquet_vectors
from nestvec.sources.lance_tables import open_lance
from nestvec.sources.places import COLUMN_PARAMETERS, Place
from nestvec.sources.shards import joined
from nestvec.sources.stream import Columns, VectorStream

_PARAMETERS = ("table", *COLUMN_PARAMETERS)
_FORM = "Write s3://BUCKET/FOLDER/*.parquet, or s3://BUCKET/PREFIX?table=TABLE for LanceDB."


def open_objects(url: str, columns: Columns) -> VectorStream:
    """Open Parquet files, or a Lance table; the vectors are read when the stream is read.

    Args:
        url: The URL of a file, a pattern with ``*`` in the name of the file, or the URL of a
            folder of Lance tables with the parameter ``table``. The parameters ``id`` and
            ``vector`` name columns.
        columns: Names of the columns if the URL does not contain them.

    Raises:
        InvalidArgument: If the URL names neither Parquet files nor a table.
        DataError: If there is no such file, table or column, or it cannot be read.
        MissingExtra: If pyarrow or lancedb is not installed.
    """
    place = Place.parse(url, _PARAMETERS)
    if "table" in place.parameters:
        return open_lance(url, columns)
    folder, _, name = place.url.rpartition("/")
    if not name.lower().endswith(".parquet") or "?" in place.url or "*" in folder:
        raise InvalidArgument(f"{place.shown} names neither Parquet files nor a table. {_FORM}")
    if "@" in folder.removeprefix("s3://").partition("/")[0]:
        problem = "the URL contains credentials."
        raise InvalidArgument(f"{problem} Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    bucket, chosen = Bucket(folder), columns.named_in(place.parameters)
    names = [name]
    if "*" in name:
        names = [each for each in bucket.names(recursive=False) if fnmatchcase(each, name)]
    if not names:
        raise DataError(place.shown, "matches no file. Check the folder and the pattern.")
    streams = [
        open_parquet_vectors(f"{bucket.url}/{each}", chosen, partial(bucket.open, each))
        for each in names
    ]
    return joined(place.shown, streams)
