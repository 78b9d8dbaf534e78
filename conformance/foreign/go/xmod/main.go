// Command xmod checks a published log with golang.org/x/mod alone, the code of Go's checksum database: sumdb/note for
// the checkpoint, sumdb/tlog for everything that hashes.
//
//	xmod -vkey VKEY [-old CHECKPOINT] [-authorization HEADER] LOCATION
//
// LOCATION is a directory or the URL under which `checkpoint` and `tile/` lie. Every entry is hashed and compared with
// its leaf hash, which tlog.TileHashReader authenticates up to the signed root; so every tile of the tree is read. An
// older checkpoint of the same log must be consistent with the present one. One line when all holds; exit code 1 when
// something does not, 2 for wrong arguments.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
	// A bundle of 256 entries of 65,535 bytes with their lengths, the largest resource there can be.
	resourceBytesMax = width * (2 + 65535)
)

// location reads the resources of one log.
type location struct {
	base          string
	authorization string
	client        http.Client
}

func (l *location) read(path string) ([]byte, error) {
	if !strings.HasPrefix(l.base, "http://") && !strings.HasPrefix(l.base, "https://") {
		return os.ReadFile(filepath.Join(l.base, filepath.FromSlash(path)))
	}
	request, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(l.base, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	if l.authorization != "" {
		request.Header.Set("Authorization", l.authorization)
	}
	response, err := l.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(response.Body, resourceBytesMax+1))
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
}

// tilePath is the path of tlog-tiles, which leaves out the height that the checksum database writes into it.
func tilePath(t tlog.Tile) string {
	path := t.Path()
	if rest, ok := strings.CutPrefix(path, "tile/8/data/"); ok {
		return "tile/entries/" + rest
	}
	return "tile/" + strings.TrimPrefix(path, "tile/8/")
}

// readTile reads a tile or a bundle (level -1). A partial one may be gone once the full one is there, which begins with
// it: that is read then, and whole says so.
func (l *location) readTile(t tlog.Tile) (data []byte, whole bool, err error) {
	data, err = l.read(tilePath(t))
	if errors.Is(err, fs.ErrNotExist) && t.W < width {
		t.W = width
		data, err = l.read(tilePath(t))
		return data, true, err
	}
	return data, t.W == width, err
}

// Height, ReadTiles and SaveTiles make a tlog.TileReader.
func (l *location) Height() int { return height }

func (l *location) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		read, whole, err := l.readTile(t)
		if err != nil {
			return nil, err
		}
		if wanted := t.W * tlog.HashSize; whole && len(read) > wanted {
			read = read[:wanted]
		}
		data[i] = read
	}
	return data, nil
}

func (l *location) SaveTiles([]tlog.Tile, [][]byte) {}

// open verifies a checkpoint and reads its three lines; tlog.ParseTree takes only the checksum database's own origin.
func open(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("not a size: %q", lines[1])
	}
	hash, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: hash}, nil
}

// cut splits a bundle into its entries.
func cut(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("a bundle ends within an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		entries, bundle = append(entries, bundle[2:end]), bundle[end:]
	}
	return entries, nil
}

// checkBundle compares the entries of bundle n with their leaf hashes, and one of them with the root by its own proof.
func (l *location) checkBundle(tree tlog.Tree, hashes tlog.HashReader, n int64) error {
	first := n * width
	count := min(tree.N-first, width)
	at := tlog.Tile{H: height, L: -1, N: n, W: int(count)}
	bundle, whole, err := l.readTile(at)
	if err != nil {
		return err
	}
	entries, err := cut(bundle)
	if err != nil {
		return fmt.Errorf("%s: %w", tilePath(at), err)
	}
	if whole && len(entries) == width {
		entries = entries[:count]
	}
	if int64(len(entries)) != count {
		return fmt.Errorf("%s: %d entries, %d expected", tilePath(at), len(entries), count)
	}
	indexes := make([]int64, count)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	leaves, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		if tlog.RecordHash(entry) != leaves[i] {
			return fmt.Errorf("entry %d is not what its leaf hash says", first+int64(i))
		}
	}
	// A different place in each bundle.
	index := first + (n*89+count-1)%count
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entries[index-first])); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return nil
}

// checkOld proves that the tree continues an older one.
func checkOld(tree, old tlog.Tree, hashes tlog.HashReader) error {
	if old.N == 0 {
		// There is nothing to prove, and x/mod refuses to; the root of nothing is known.
		if root, err := tlog.TreeHash(0, hashes); err != nil || root != old.Hash {
			return errors.New("the older checkpoint of size 0 has another root than the empty tree")
		}
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func check(vkey, oldFile string, l *location) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := l.read("checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	tree, err := open(signed, verifier)
	if err != nil {
		return tree, err
	}
	hashes := tlog.TileHashReader(tree, l)
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return tree, err
	}
	if root != tree.Hash {
		return tree, errors.New("the tiles give another root than the checkpoint")
	}
	for n := int64(0); n*width < tree.N; n++ {
		if err := l.checkBundle(tree, hashes, n); err != nil {
			return tree, err
		}
	}
	if oldFile == "" {
		return tree, nil
	}
	signed, err = os.ReadFile(oldFile)
	if err != nil {
		return tree, err
	}
	old, err := open(signed, verifier)
	if err != nil {
		return tree, err
	}
	return tree, checkOld(tree, old, hashes)
}

func main() {
	vkey := flag.String("vkey", "", "the log's verifier key")
	old := flag.String("old", "", "a file with an older checkpoint of the log")
	authorization := flag.String("authorization", "", "the Authorization header to send")
	flag.Parse()
	if *vkey == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	l := &location{base: flag.Arg(0), authorization: *authorization, client: http.Client{Timeout: 20 * time.Second}}
	tree, err := check(*vkey, *old, l)
	if err != nil {
		fmt.Fprintf(os.Stderr, "xmod: %s: %v\n", flag.Arg(0), err)
		os.Exit(1)
	}
	fmt.Printf("xmod: ok, %d entries, root %v\n", tree.N, tree.Hash)
}
