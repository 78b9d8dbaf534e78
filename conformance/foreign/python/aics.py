"""Checks a published log with aics-tlog: the signatures, every tile, every entry, and that an older size is its beginning.

    aics.py --vkey VKEY [--witness VKEY ... --quorum K] [--old CHECKPOINT] [--authorization HEADER] LOCATION

LOCATION is a directory, or the URL under which `checkpoint` and `tile/` lie. One line when all holds; exit code 1 when
something does not.
"""

import argparse
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aics_tlog
from aics_tlog.tiles import TileMissingError, TileVerificationError, entry_bundle_path, tile_path

TIMEOUT_S = 20


class Location:
    """Where aics-tlog reads tiles. Its own reader over HTTP sends no Authorization header; this one does."""

    def __init__(self, base, authorization):
        self.base = base.rstrip("/")
        self.headers = {"Authorization": authorization} if authorization else {}

    def read(self, path):
        if not self.base.startswith(("http://", "https://")):
            file = Path(self.base, path)
            return file.read_bytes() if file.is_file() else None
        try:
            with urlopen(Request(f"{self.base}/{path}", headers=self.headers), timeout=TIMEOUT_S) as response:
                return response.read()
        except HTTPError as e:
            if e.code == 404:
                return None
            raise

    def read_tile(self, level, index, width):
        return self.read(tile_path(level, index, width))

    def read_entry_bundle(self, index, width):
        return self.read(entry_bundle_path(index, width))


def verified(note, log_key, witnesses, quorum):
    result = aics_tlog.verify_checkpoint(
        note, log_key, witnesses, quorum, expected_origin=log_key.name
    )
    if not result.ok:
        raise ValueError(f"checkpoint: {result.error}")
    return result.size, result.root


def check(args):
    log_key = aics_tlog.parse_vkey(args.vkey)
    witnesses = [aics_tlog.parse_vkey(vkey) for vkey in args.witness]
    location = Location(args.location, args.authorization)
    note = location.read("checkpoint")
    if note is None:
        raise ValueError("no checkpoint")
    size, root = verified(aics_tlog.parse_note(note.decode()), log_key, witnesses, args.quorum)
    report = aics_tlog.audit_tiles(location, size, root)
    if size == 0:
        return f"0 entries, root {root.hex()}"
    tiles = aics_tlog.VerifiedTileReader(location, size, root)
    tiles.check_root()
    for index in sorted({0, size // 3, size - 1}):
        proof = aics_tlog.inclusion_proof_from_tiles(tiles, index, size)
        if not aics_tlog.verify_inclusion(aics_tlog.leaf_hash(tiles.entry(index)), index, size, proof, root):
            raise ValueError(f"entry {index} is not under the root")
    if args.old:
        old = aics_tlog.parse_note(Path(args.old).read_text(encoding="utf-8"))
        old_size, old_root = verified(old, log_key, [], 0)
        proof = aics_tlog.consistency_proof_from_tiles(tiles, old_size, size) if old_size else []
        if not aics_tlog.verify_consistency(old_size, size, old_root, root, proof):
            raise ValueError(f"size {old_size} is not the beginning of size {size}")
    return f"{size} entries, {report.tiles} tiles, {report.bundles} bundles, root {root.hex()}"


def main():
    parser = argparse.ArgumentParser(prog="aics.py")
    parser.add_argument("--vkey", required=True, help="the log's verifier key")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key (repeatable)")
    parser.add_argument("--quorum", type=int, default=0, help="cosignatures that must be there")
    parser.add_argument("--old", help="a file with an older checkpoint of the log")
    parser.add_argument("--authorization", help="the Authorization header to send")
    parser.add_argument("location")
    args = parser.parse_args()
    try:
        said = check(args)
    except (ValueError, OSError, TileMissingError, TileVerificationError) as e:
        sys.exit(f"aics-tlog: {args.location}: {type(e).__name__}: {e}")
    print(f"aics-tlog: ok, {said}")


if __name__ == "__main__":
    main()
