"""A real S3 server on the loopback interface: SeaweedFS, from a PyPI package."""

import json
from contextlib import contextmanager

import pytest
from pyarrow import fs

from conftest import free_ports, program, started, wait_until

KEY, SECRET = "test-key", "test-secret-value"


@contextmanager
def s3_server(folder, bucket):
    """Yield the URL of an empty bucket; the environment names its server and the credentials."""
    keys, log = folder / "keys.json", folder / "weed.log"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    keys.write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    s3, master, volume, filer = free_ports(4)
    command = [program("weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={folder / 'data'}", "-master.volumeSizeLimitMB=64"]
    command += ["-volume.max=100"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    command += ["-s3", f"-s3.port={s3}", f"-s3.config={keys}"]
    with pytest.MonkeyPatch.context() as patch, started(command, log):
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
        server = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{s3}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )

        def is_ready():
            try:
                server.create_dir(bucket)
                with server.open_output_stream(f"{bucket}/ready") as stream:
                    stream.write(b"ready")
            except OSError:
                return False
            return True

        wait_until(is_ready, 60, log)
        yield f"s3://{bucket}"
