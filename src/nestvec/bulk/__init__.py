"""Embed a large corpus: shards on a disk or in object storage, on one machine or a Ray cluster."""
