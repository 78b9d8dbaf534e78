"""Checks a published log with tlog-scales: the signatures, an inclusion proof in every tile, every entry's leaf hash.

    scales.py --vkey VKEY [--witness VKEY ... --quorum K] [--old CHECKPOINT] [--authorization HEADER] LOCATION

LOCATION is a directory, or the URL under which `checkpoint` and `tile/` lie. One line when all holds; exit code 1 when
something does not.
"""

import argparse
import logging
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from tlog_scales import tiles
from tlog_scales.backend import make_backend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tlog import Checkpoint, ConsistencyProofInvalid, InclusionProofInvalid
from tlog_scales.utils import sha256

WIDTH = 256


def location(base, authorization):
    backend = make_backend(base)
    if authorization:
        backend.session.headers["Authorization"] = authorization
    return backend


def check(args):
    key = Vkey.from_string(args.vkey)
    reader = TilesReader(location(args.location, args.authorization))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(key)
    witnesses = VkeySet(*map(Vkey.from_string, args.witness))
    good = {vkey.name for vkey, _ in witnesses.verify(checkpoint.signatures, checkpoint)}
    if len(good) < args.quorum:
        raise ValueError(f"{len(good)} cosignatures, {args.quorum} are needed")
    size, root = checkpoint.size, checkpoint.root_hash
    if size == 0:
        if root != sha256(b""):
            raise ValueError("the root of size 0 is not that of the empty tree")
        return f"0 entries, root {root.hex()}"
    if reader.calculate_root_hash() != root:
        raise ValueError("the tiles give another root than the checkpoint")
    for first in range(0, size, WIDTH):
        # The siblings of one leaf are made of all others of its tile, so one proof holds the whole tile to the root.
        leaf = tiles.leaf_hash(reader.get_entry(first))
        reader.get_inclusion_proof(first, size).check(leaf, root)
        for index in range(first, min(first + WIDTH, size)):
            if tiles.leaf_hash(reader.get_entry(index)) != reader.mth(index, index + 1):
                raise ValueError(f"entry {index} is not what its leaf hash says")
    if args.old:
        old = Checkpoint.from_text(Path(args.old).read_text(encoding="utf-8"))
        old.verify(key)
        # Nothing is to be proven about an empty beginning, and its proof cannot be asked for.
        if old.size:
            reader.get_consistency_proof(old.size, size).check(old.root_hash, root)
        elif old.root_hash != sha256(b""):
            raise ValueError("the older root of size 0 is not that of the empty tree")
    return f"{size} entries, {len(good)} cosignatures, root {root.hex()}"


def main():
    parser = argparse.ArgumentParser(prog="scales.py")
    parser.add_argument("--vkey", required=True, help="the log's verifier key")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key (repeatable)")
    parser.add_argument("--quorum", type=int, default=0, help="cosignatures that must be there")
    parser.add_argument("--old", help="a file with an older checkpoint of the log")
    parser.add_argument("--authorization", help="the Authorization header to send")
    parser.add_argument("location")
    args = parser.parse_args()
    # A cosignature that fails is reported by the count; the library's trace of it is noise.
    logging.disable(logging.CRITICAL)
    try:
        said = check(args)
    except (
        ValueError,
        IndexError,
        OSError,
        RuntimeError,
        InvalidSignature,
        InclusionProofInvalid,
        ConsistencyProofInvalid,
    ) as e:
        sys.exit(f"tlog-scales: {args.location}: {type(e).__name__}: {e}")
    print(f"tlog-scales: ok, {said}")


if __name__ == "__main__":
    main()
