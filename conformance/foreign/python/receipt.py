"""Checks a COSE receipt of inclusion (RFC 9942, RFC9162_SHA256) with cbor2 and cryptography; nothing of ours.

    receipt.py --vkey VKEY --entry FILE RECEIPT

The log's key is given as a verifier key of signed notes, type 0x01. One line when all holds; exit code 1 when something
does not.

    Receipt = #6.18([protected, unprotected, nil, signature])       RFC 9052, section 4.2; RFC 9942, section 4
    protected:   1 (alg) = -8, EdDSA; 395 (vds) = 1, RFC9162_SHA256
    unprotected: 396 (vdp) = { -1: [+ bstr .cbor [tree-size, leaf-index, [* bstr]]] }
    signed:      ["Signature1", protected, h'', the root that entry and path lead to]
"""

import argparse
import base64
import hashlib
import io
import sys
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COSE_SIGN1 = 18
ALG, CRIT, VDS, VDP = 1, 2, 395, 396
EDDSA = -8
RFC9162_SHA256 = 1
INCLUSION = -1
HASH_BYTES = 32


def decode(data):
    """One CBOR item and nothing after it."""
    source = io.BytesIO(data)
    value = cbor2.load(source)
    if source.read(1):
        raise ValueError("bytes after the CBOR item")
    return value


def root(entry, index, size, path):
    """The root that entry and path lead to: RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} of {size}")
    fn, sn = index, size - 1
    value = hashlib.sha256(b"\x00" + entry).digest()
    for sibling in path:
        if not isinstance(sibling, bytes) or len(sibling) != HASH_BYTES:
            raise ValueError("a path of something else than hashes")
        if sn == 0:
            raise ValueError("the path is too long")
        if fn & 1 or fn == sn:
            value = hashlib.sha256(b"\x01" + sibling + value).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = hashlib.sha256(b"\x01" + value + sibling).digest()
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ValueError("the path is too short")
    return value


def key_of(vkey):
    """The Ed25519 key of `<name>+<id>+<base64 of 0x01 and the key>`, whose id must be right."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key, validate=True)
    if len(key) != 33 or key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        raise ValueError("not the verifier key of a log")
    return Ed25519PublicKey.from_public_bytes(key[1:])


def check(args):
    receipt = decode(Path(args.receipt).read_bytes())
    if not isinstance(receipt, cbor2.CBORTag) or receipt.tag != COSE_SIGN1 or len(receipt.value) != 4:
        raise ValueError("not a COSE_Sign1")
    protected, unprotected, payload, signature = receipt.value
    headers = decode(protected)
    if headers.get(ALG) != EDDSA or headers.get(VDS) != RFC9162_SHA256 or CRIT in headers:
        raise ValueError(f"not an EdDSA receipt of RFC9162_SHA256: {headers}")
    if payload is not None:
        raise ValueError("the root is attached; it has to be computed")
    proofs = unprotected[VDP][INCLUSION]
    if not proofs:
        raise ValueError("no proof of inclusion")
    key, entry = key_of(args.vkey), Path(args.entry).read_bytes()
    for proof in proofs:
        size, index, path = decode(proof)
        signed = ["Signature1", protected, b"", root(entry, index, size, path)]
        key.verify(signature, cbor2.dumps(signed))
    return f"entry {index} of {size}, a path of {len(path)}"


def main():
    parser = argparse.ArgumentParser(prog="receipt.py")
    parser.add_argument("--vkey", required=True, help="the log's verifier key")
    parser.add_argument("--entry", required=True, help="a file with the entry")
    parser.add_argument("receipt", help="a file with the receipt")
    args = parser.parse_args()
    try:
        said = check(args)
    except InvalidSignature:
        sys.exit(f"receipt: {args.receipt}: not signed by that log over that entry")
    except (ValueError, TypeError, AttributeError, LookupError, OSError, cbor2.CBORDecodeError) as e:
        sys.exit(f"receipt: {args.receipt}: {type(e).__name__}: {e}")
    print(f"receipt: ok, {said}")


if __name__ == "__main__":
    main()
