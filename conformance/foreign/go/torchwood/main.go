// Command torchwood checks a published log, or the proof of one entry, with filippo.io/torchwood.
//
//	torchwood log -policy FILE [-old CHECKPOINT] [-authorization HEADER] LOCATION
//	torchwood proof -policy FILE -entry FILE PROOF
//
// LOCATION is a directory or the URL under which `checkpoint` and `tile/` lie; PROOF a c2sp.org/tlog-proof@v1. The
// policy (c2sp.org/tlog-policy) names the log's key and the witnesses that must have cosigned; an older checkpoint is
// held to the log's key of the same policy and, being older, to the same quorum. One line when all holds; exit code 1
// when something does not, 2 for wrong arguments.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// bearer adds a header to every request.
type bearer string

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	if b != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", string(b))
	}
	return http.DefaultTransport.RoundTrip(request)
}

func reader(location, authorization string) (torchwood.TileReader, error) {
	if strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://") {
		client := &http.Client{Transport: bearer(authorization)}
		return torchwood.NewTileFetcher(location, torchwood.WithHTTPClient(client), torchwood.WithConcurrencyLimit(4))
	}
	return torchwood.NewTileFS(os.DirFS(location))
}

func checkLog(policy torchwood.Policy, location, authorization, oldFile string) (string, error) {
	ctx := context.Background()
	tiles, err := reader(location, authorization)
	if err != nil {
		return "", err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return "", err
	}
	now, opened, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return "", err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return "", err
	}
	// The client authenticates every tile it hands on, and every entry against its tile.
	next := int64(0)
	for index := range client.AllEntries(ctx, now.Tree, 0) {
		if index != next {
			return "", fmt.Errorf("entry %d where %d is due", index, next)
		}
		next++
	}
	if err := client.Err(); err != nil {
		return "", err
	}
	if next != now.N {
		return "", fmt.Errorf("%d entries, %d expected", next, now.N)
	}
	hashes := torchwood.TileHashReaderWithContext(ctx, now.Tree, tiles)
	root, err := tlog.TreeHash(now.N, hashes)
	if err != nil {
		return "", err
	}
	if root != now.Hash {
		return "", errors.New("the tiles give another root than the checkpoint")
	}
	// Every node of the right edge by a proof of its own.
	for _, at := range torchwood.RightEdge(now.N) {
		edge, err := hashes.ReadHashes([]int64{at})
		if err != nil {
			return "", err
		}
		proof, err := torchwood.ProveHash(now.N, at, hashes)
		if err != nil {
			return "", err
		}
		if err := torchwood.CheckHash(proof, now.N, now.Hash, at, edge[0]); err != nil {
			return "", err
		}
	}
	if oldFile != "" {
		if err := checkOld(policy, now, hashes, oldFile); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d entries, root %v, %d signatures", now.N, now.Hash, len(opened.Sigs)), nil
}

func checkOld(policy torchwood.Policy, now torchwood.Checkpoint, hashes tlog.HashReader, file string) error {
	signed, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	old, _, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil || old.N == 0 {
		return err
	}
	proof, err := tlog.ProveTree(now.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash)
}

func checkProof(policy torchwood.Policy, entryFile, proofFile string) (string, error) {
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return "", err
	}
	proof, err := os.ReadFile(proofFile)
	if err != nil {
		return "", err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof); err != nil {
		return "", err
	}
	return fmt.Sprintf("a proof of %d bytes", len(bytes.TrimSpace(proof))), nil
}

func main() {
	usage := func() {
		fmt.Fprintln(os.Stderr, "usage: torchwood log|proof -policy FILE [options] LOCATION|PROOF")
		os.Exit(2)
	}
	if len(os.Args) < 2 || os.Args[1] != "log" && os.Args[1] != "proof" {
		usage()
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	policyFile := flags.String("policy", "", "a file with a tlog-policy")
	old := flags.String("old", "", "log: a file with an older checkpoint")
	authorization := flags.String("authorization", "", "log: the Authorization header to send")
	entry := flags.String("entry", "", "proof: a file with the entry")
	if err := flags.Parse(os.Args[2:]); err != nil || *policyFile == "" || flags.NArg() != 1 {
		usage()
	}
	said, err := func() (string, error) {
		text, err := os.ReadFile(*policyFile)
		if err != nil {
			return "", err
		}
		policy, err := torchwood.ParsePolicy(text)
		if err != nil {
			return "", err
		}
		if os.Args[1] == "proof" {
			return checkProof(policy, *entry, flags.Arg(0))
		}
		return checkLog(policy, flags.Arg(0), *authorization, *old)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "torchwood: %s: %v\n", flags.Arg(0), err)
		os.Exit(1)
	}
	fmt.Printf("torchwood: ok, %s\n", said)
}
