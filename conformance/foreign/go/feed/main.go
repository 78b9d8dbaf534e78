// Command feed brings a grown log to a witness (c2sp.org/tlog-witness) as a foreign client would, with
// golang.org/x/mod and filippo.io/torchwood: first every request that a witness must refuse, then the honest one.
//
//	feed -vkey VKEY -witness VKEY -url URL -older CHECKPOINT -out FILE DIRECTORY
//
// DIRECTORY holds the log's `checkpoint` and `tile/`; the older checkpoint is the one the witness has cosigned last;
// URL is where `add-checkpoint` lies. The cosigned checkpoint goes to FILE. One line when the witness has answered
// everything as the specification says; exit code 1 when not, 2 for wrong arguments.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// How far the witness's clock may be from this one.
const skew = 5 * time.Minute

// What a size is sent as.
const sizeType = "text/x.tlog.size"

type answer struct {
	status int
	kind   string
	body   string
}

type feeder struct {
	url    string
	client http.Client
}

func (f *feeder) post(body string) (answer, error) {
	response, err := f.client.Post(f.url+"/add-checkpoint", "text/plain; charset=utf-8", strings.NewReader(body))
	return read(response, err)
}

func read(response *http.Response, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer{response.StatusCode, response.Header.Get("Content-Type"), string(body)}, err
}

// request is the body of add-checkpoint.
func request(old int64, proof tlog.TreeProof, checkpoint string) string {
	var body strings.Builder
	fmt.Fprintf(&body, "old %d\n", old)
	for _, hash := range proof {
		fmt.Fprintf(&body, "%v\n", hash)
	}
	return body.String() + "\n" + checkpoint
}

// refusal is a request that must not be cosigned.
type refusal struct {
	what   string
	body   string
	status int
}

func refusals(older, newer torchwood.Checkpoint, proof tlog.TreeProof, signed, signedOlder string) ([]refusal, error) {
	bent := append(tlog.TreeProof{}, proof...)
	bent[0][0] ^= 1
	// The last character of a signature's base64 may carry no bits; one in its middle does.
	forged := []byte(signed)
	at := bytes.LastIndexByte(bytes.TrimSuffix(forged, []byte("\n")), ' ') + 40
	forged[at] = map[bool]byte{true: 'B', false: 'A'}[forged[at] == 'A']
	skey, _, err := note.GenerateKey(rand.Reader, "example.org/no-log-of-this-witness")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	stranger := torchwood.Checkpoint{Origin: signer.Name(), Tree: newer.Tree}
	unknown, err := note.Sign(&note.Note{Text: stranger.String()}, signer)
	if err != nil {
		return nil, err
	}
	honest := request(older.N, proof, signed)
	return []refusal{
		{"nothing", "", 400},
		{"no old size", strings.TrimPrefix(honest, "old "), 400},
		{"an old size with a leading zero", strings.Replace(honest, "old ", "old 0", 1), 400},
		{"a line that is no hash", strings.Replace(honest, "\n\n", "\n=\n\n", 1), 400},
		{"64 lines of proof", request(older.N, make(tlog.TreeProof, 64), signed), 400},
		{"an old size beyond the checkpoint", request(newer.N+1, nil, signed), 400},
		{"a checkpoint without a signature", request(older.N, proof, newer.String()+"\n"), 403},
		{"a signature that fails", request(older.N, proof, string(forged)), 403},
		{"an unknown log", request(older.N, proof, string(unknown)), 404},
		{"a proof with another hash", request(older.N, bent, signed), 422},
		{"a proof that is too short", request(older.N, proof[:len(proof)-1], signed), 422},
		{"a proof that is too long", request(older.N, append(proof[:len(proof):len(proof)], proof[0]), signed), 422},
		{"no growth, with a proof", request(older.N, proof, signedOlder), 422},
	}, nil
}

func feed(vkey, witness, url, olderFile, outFile, dir string) (string, error) {
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	cosigner, err := torchwood.NewCosignatureVerifier(witness)
	if err != nil {
		return "", err
	}
	alone := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(log.Name()), torchwood.SingleVerifierPolicy(log))
	both := torchwood.ThresholdPolicy(2, alone, torchwood.SingleVerifierPolicy(cosigner))
	ctx := context.Background()
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		return "", err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return "", err
	}
	newer, _, err := torchwood.VerifyCheckpoint(signed, alone)
	if err != nil {
		return "", err
	}
	signedOlder, err := os.ReadFile(olderFile)
	if err != nil {
		return "", err
	}
	older, _, err := torchwood.VerifyCheckpoint(signedOlder, both)
	if err != nil {
		return "", fmt.Errorf("the older checkpoint: %w", err)
	}
	proof, err := tlog.ProveTree(newer.N, older.N, torchwood.TileHashReaderWithContext(ctx, newer.Tree, tiles))
	if err != nil {
		return "", err
	}
	if len(proof) < 2 {
		return "", errors.New("the log has not grown enough to bend its proof")
	}

	f := &feeder{url: strings.TrimSuffix(url, "/"), client: http.Client{Timeout: 20 * time.Second}}
	conflict := func(old, last int64) error {
		got, err := f.post(request(old, nil, string(signed)))
		if err != nil {
			return err
		}
		if want := (answer{409, sizeType, strconv.FormatInt(last, 10) + "\n"}); got != want {
			return fmt.Errorf("old %d: %v, and %v is due", old, got, want)
		}
		return nil
	}
	// How a client that remembers nothing learns the size.
	if err := conflict(0, older.N); err != nil {
		return "", err
	}
	cases, err := refusals(older, newer, proof, string(signed), string(signedOlder))
	if err != nil {
		return "", err
	}
	for _, r := range cases {
		got, err := f.post(r.body)
		if err != nil {
			return "", fmt.Errorf("%s: %w", r.what, err)
		}
		if got.status != r.status {
			return "", fmt.Errorf("%s: status %d, and %d is due: %q", r.what, got.status, r.status, got.body)
		}
	}
	// Nothing of that has moved the witness.
	if err := conflict(older.N-1, older.N); err != nil {
		return "", err
	}
	cosigned, err := f.honest(request(older.N, proof, string(signed)), signed, both, cosigner)
	if err != nil {
		return "", err
	}
	if err := conflict(older.N, newer.N); err != nil {
		return "", err
	}
	// The same tree once more is cosigned anew. Its signature comes twice, and must not be kept twice.
	text, lines, _ := strings.Cut(string(signed), "\n\n")
	doubled := text + "\n\n" + lines + lines
	if _, err := f.honest(request(newer.N, nil, doubled), signed, both, cosigner); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s/%x/checkpoint", f.url, sha256.Sum256([]byte(newer.Origin)))
	got, err := read(f.client.Get(name))
	if err != nil {
		return "", err
	}
	shown, _, err := torchwood.VerifyCheckpoint([]byte(got.body), both)
	if err != nil || shown.Tree != newer.Tree {
		return "", fmt.Errorf("%s: status %d, %q: %w", name, got.status, got.body, err)
	}
	if kept := strings.Count(got.body, "\n\u2014 "); kept != 2 {
		return "", fmt.Errorf("%s: %d signature lines, and 2 are due: %q", name, kept, got.body)
	}
	if err := os.WriteFile(outFile, cosigned, 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d refusals, and a cosignature from %d to %d entries", len(cases), older.N, newer.N), nil
}

// honest sends a request that must be cosigned and opens the checkpoint with the returned line.
func (f *feeder) honest(body string, signed []byte, policy torchwood.Policy, cosigner *torchwood.CosignatureVerifier) ([]byte, error) {
	got, err := f.post(body)
	if err != nil {
		return nil, err
	}
	if got.status != 200 {
		return nil, fmt.Errorf("an honest request: status %d: %q", got.status, got.body)
	}
	// Only the log's line and the new one, whatever cosignatures the checkpoint came with.
	text, _, _ := strings.Cut(string(signed), "\n\n")
	own := strings.SplitAfter(strings.TrimPrefix(string(signed), text+"\n\n"), "\n")[0]
	cosigned := []byte(text + "\n\n" + own + got.body)
	_, opened, err := torchwood.VerifyCheckpoint(cosigned, policy)
	if err != nil {
		return nil, fmt.Errorf("the cosignature %q: %w", got.body, err)
	}
	for _, signature := range opened.Sigs {
		if signature.Name != cosigner.Name() {
			continue
		}
		if raw, err := base64.StdEncoding.DecodeString(signature.Base64); err != nil || len(raw) != 4+8+64 {
			return nil, fmt.Errorf("the cosignature has %d bytes: %w", len(raw), err)
		}
		seconds, err := torchwood.CosignatureTimestamp(signature)
		if err != nil {
			return nil, err
		}
		if off := time.Since(time.Unix(seconds, 0)).Abs(); off > skew {
			return nil, fmt.Errorf("the cosignature's time is off by %v", off)
		}
	}
	return cosigned, nil
}

func main() {
	vkey := flag.String("vkey", "", "the log's verifier key")
	witness := flag.String("witness", "", "the witness's verifier key")
	url := flag.String("url", "", "the URL under which add-checkpoint lies")
	older := flag.String("older", "", "a file with the checkpoint that the witness has cosigned last")
	out := flag.String("out", "", "the file for the cosigned checkpoint")
	flag.Parse()
	if *vkey == "" || *witness == "" || *url == "" || *older == "" || *out == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	said, err := feed(*vkey, *witness, *url, *older, *out, flag.Arg(0))
	if err != nil {
		fmt.Fprintf(os.Stderr, "feed: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("feed: ok, %s\n", said)
}
