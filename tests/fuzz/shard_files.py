"""Folders of shards, structure-aware: manifests, tensors, headers, bytes, missing files."""

import hashlib
import json
import shutil
import warnings
from functools import cache
from tempfile import TemporaryDirectory

from isthmus import Shards, read_ratings, shard, write_ratings
from isthmus.data.shards import MANIFEST, bucket_name, checksum_of

from .expectations import FILE_ERRORS, refusal
from .files import check_whole
from .model_files import mutate_tensors, small_ratings
from .mutate import (
    json_text,
    mutate_bytes,
    mutate_header,
    mutate_json,
    read_tensors,
    tensor_header,
    write_tensors,
)


@cache
def seeds():
    """Return the files of valid folders by their names."""
    folders = []
    with TemporaryDirectory() as folder:
        for number, axis in enumerate(("user", "item") * 2):
            write_ratings(small_ratings(named=number >= 2), f"{folder}/ratings.parquet")
            made = shard(f"{folder}/ratings.parquet", f"{folder}/{number}", buckets=3, axis=axis)
            folders.append({path.name: path.read_bytes() for path in sorted(made.path.iterdir())})
    return folders


def draw(rng):
    """Draw a folder's files, whose sizes and checksums mostly are those of the manifest."""
    files = dict(rng.choice(seeds()))
    for name in rng.sample(list(files), rng.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        _damage(rng, files, name)
    return {"files": signed(files) if rng.random() < 0.8 else files}


def _damage(rng, files, name):
    action = rng.random()
    if action < 0.03:
        del files[name]
    elif action < 0.07:
        files[name] = rng.choice(list(files.values()))
    elif action < 0.2:
        files[name] = mutate_bytes(rng, files[name], list(files.values()))
    elif name == MANIFEST:
        manifest = mutate_json(rng, json.loads(files[name]))
        files[name] = json_text(rng, manifest).encode("utf-8", "replace")
    else:
        files[name] = _damaged_tensors(rng, files[name], rng.choice(seeds())[name])


def _damaged_tensors(rng, data, other):
    metadata, tensors = read_tensors(data)
    for _ in range(rng.choice((1, 1, 1, 2))):
        mutate_tensors(rng, tensors, [read_tensors(other)[1]])
    header = tensor_header(metadata, tensors)
    if rng.random() < 0.15:
        header = mutate_header(rng, header)
    return write_tensors(json.dumps(header), tensors)


def signed(files):
    """Let the manifest tell what the files hold, so that a mutation gets past its checksums."""
    try:
        manifest = json.loads(files[MANIFEST])
        entries = {f"{side}.safetensors": manifest[side] for side in ("users", "items")}
        entries |= {bucket_name(at): entry for at, entry in enumerate(manifest["buckets"])}
        for name in entries.keys() & files.keys():
            checksum = hashlib.blake2b(files[name], digest_size=16).hexdigest()
            entries[name].update(bytes=len(files[name]), blake2b=checksum)
        manifest["checksum"] = checksum_of(manifest)
        return {**files, MANIFEST: json.dumps(manifest).encode()}
    except Exception:  # a manifest so damaged has none
        return files


# What is promised


def check(given, folder):
    """Read shards: the ratings are whole, or the folder is refused."""
    path = folder / "shards"
    path.mkdir()
    try:
        for name, data in given["files"].items():
            (path / name).write_bytes(data)
        repr(Shards(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of values that look like counts
            ratings = read_ratings(path)
    except Exception as error:
        return refusal(error, FILE_ERRORS, path=path)
    finally:
        shutil.rmtree(path)
    check_whole(ratings)
    return "accepted"
