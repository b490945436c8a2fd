"""Images on a Ray cluster: a dataset of files in, a dataset of rows out.

    import ray
    from lineup.ray import attribute_dataset

    files = ray.data.read_binary_files("s3://bucket/images", include_paths=True)
    attribute_dataset(files).write_parquet("s3://bucket/rows")

`lineup scan PATHS --ray` is this for files that are named, with rows in one file, resumable.
"""

from lineup.ray.dataset import attribute_dataset

__all__ = ["attribute_dataset"]
