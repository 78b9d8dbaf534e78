// A plain query service, as such services are built today: HTTP/1.1 over mutual TLS, JSON, and PostgreSQL. Of each
// question it looks up the grant, reads five columns in clear, and inserts a row into an audit table, in one durable
// transaction. Nothing is signed, sealed or proved. `xinqiao bench query --service` measures it beside a node.
//
//	service --postgres URL --subjects N --seconds S [--concurrency 1,16,64,256] [--rate R]
//
// prints one JSON array: a run for each number of questions on their way at once, and one with R coming each second. It makes tables `xinqiao_bench_…` and removes them. Server and clients are two processes.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const tables = `
DROP TABLE IF EXISTS xinqiao_bench_record, xinqiao_bench_grant, xinqiao_bench_audit;
CREATE TABLE xinqiao_bench_record (subject text PRIMARY KEY, number text, kind text, facts text, class text, decided date, rest bytea);
CREATE TABLE xinqiao_bench_grant (id bigint PRIMARY KEY, subject text, grantee text, purpose text, not_after timestamptz, revoked boolean);
CREATE TABLE xinqiao_bench_audit (n bigserial PRIMARY KEY, at timestamptz, asker text, clerk text, purpose text, subject text, grant_id bigint, fields text);
INSERT INTO xinqiao_bench_record SELECT '9131' || lpad(n::text, 14, '0'), '沪市监处〔2026〕' || n || '号', '虚假宣传',
  '虚假宣传，情节轻微，责令改正', '警告', now()::date, decode(repeat('a5', 600), 'hex') FROM generate_series(0, %[1]d - 1) n;
INSERT INTO xinqiao_bench_grant SELECT n, '9131' || lpad(n::text, 14, '0'), 'bank', 'pre-loan', now() + interval '1 day', false
  FROM generate_series(0, %[1]d - 1) n;
ANALYZE xinqiao_bench_record; ANALYZE xinqiao_bench_grant;`

const drop = `DROP TABLE IF EXISTS xinqiao_bench_record, xinqiao_bench_grant, xinqiao_bench_audit`

// Connections of the server to its database: a common size of a pool.
const pooled = 16

type question struct {
	Subject string   `json:"subject"`
	Purpose string   `json:"purpose"`
	Clerk   string   `json:"clerk"`
	Grant   int64    `json:"grant"`
	Fields  []string `json:"fields"`
}

type record struct {
	Number  string `json:"number"`
	Kind    string `json:"kind"`
	Facts   string `json:"facts"`
	Class   string `json:"class"`
	Decided string `json:"decided"`
}

type answer struct {
	Audit   int64    `json:"audit"`
	Records []record `json:"records"`
}

var errNotAllowed = errors.New("not allowed")

func respond(ctx context.Context, db *pgxpool.Pool, asker string, q question) (*answer, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var allowed bool
	err = tx.QueryRow(ctx, `SELECT subject = $2 AND grantee = $3 AND purpose = $4 AND not_after > now() AND NOT revoked
		FROM xinqiao_bench_grant WHERE id = $1`, q.Grant, q.Subject, asker, q.Purpose).Scan(&allowed)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return nil, errNotAllowed
	}
	a := &answer{}
	err = tx.QueryRow(ctx, `INSERT INTO xinqiao_bench_audit (at, asker, clerk, purpose, subject, grant_id, fields)
		VALUES (now(), $1, $2, $3, $4, $5, $6) RETURNING n`,
		asker, q.Clerk, q.Purpose, q.Subject, q.Grant, strings.Join(q.Fields, ",")).Scan(&a.Audit)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT number, kind, facts, class, decided::text FROM xinqiao_bench_record WHERE subject = $1`, q.Subject)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r record
		if err := rows.Scan(&r.Number, &r.Kind, &r.Facts, &r.Class, &r.Decided); err != nil {
			return nil, err
		}
		a.Records = append(a.Records, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return a, tx.Commit(ctx)
}

// serve reads its certificate, key and the client's certificate from standard input, prints its address, and serves
// until standard input ends.
func serve(postgres string) error {
	var pems [3][]byte
	if err := json.NewDecoder(os.Stdin).Decode(&pems); err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(pems[0], pems[1])
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pems[2])
	config, err := pgxpool.ParseConfig(postgres)
	if err != nil {
		return err
	}
	config.MaxConns = pooled
	db, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return err
	}
	defer db.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
	}()
	http.HandleFunc("POST /v1/query", func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, err := respond(r.Context(), db, r.TLS.PeerCertificates[0].Subject.CommonName, q)
		switch {
		case errors.Is(err, errNotAllowed):
			http.Error(w, err.Error(), http.StatusForbidden)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(a)
		}
	})
	if err := http.Serve(listener, nil); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// selfSigned makes a key and a certificate for it; whoever trusts it trusts only it.
func selfSigned(name string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", der), block("PRIVATE KEY", bytes), nil
}

// one asks about subject n and checks the answer.
func one(client *http.Client, url string, n int64) error {
	q := question{
		Subject: fmt.Sprintf("9131%014d", n), Purpose: "pre-loan", Clerk: "clerk-1", Grant: n,
		Fields: []string{"number", "kind", "facts", "class", "decided"},
	}
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	response, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var a answer
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s", response.Status, said)
	}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	if len(a.Records) != 1 || a.Records[0].Number != fmt.Sprintf("沪市监处〔2026〕%d号", n) {
		return errors.New("another record than was asked for")
	}
	return nil
}

// connections are as many as a bank holds open when questions come at random moments.
const connections = 256

type ran struct {
	// Questions on their way at once, or 0: they came at random moments, so many a second.
	Concurrency int     `json:"concurrency"`
	Offered     float64 `json:"offered_per_second"`
	Answers     int     `json:"answers"`
	Rate        float64 `json:"answers_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	// Of each second its own, and of these the median.
	P99Second float64 `json:"p99_ms_of_the_median_second"`
}

// asked is when a question was due, since the beginning, and how long its answer took from then.
type asked struct{ due, took time.Duration }

// load asks with so many questions on their way at once, or, where rate is not 0, at so many random moments a second.
func load(client *http.Client, url string, subjects int64, seconds, concurrency int, rate float64, next *atomic.Int64) (ran, error) {
	var (
		group sync.WaitGroup
		lock  sync.Mutex
		all   []asked
		fault error
	)
	start := time.Now()
	until := start.Add(time.Duration(seconds) * time.Second)
	// Whether it was answered.
	ask := func(due time.Time) bool {
		err := one(client, url, next.Add(1)%subjects)
		took := time.Since(due)
		lock.Lock()
		defer lock.Unlock()
		fault = cmp.Or(fault, err)
		all = append(all, asked{due.Sub(start), took})
		return err == nil
	}
	for range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for due := time.Now(); due.Before(until) && ask(due); due = time.Now() {
			}
		}()
	}
	for due := start; rate > 0; {
		due = due.Add(time.Duration(mrand.ExpFloat64() / rate * float64(time.Second)))
		if due.After(until) {
			break
		}
		time.Sleep(time.Until(due))
		group.Add(1)
		go func() {
			defer group.Done()
			ask(due)
		}()
	}
	group.Wait()
	if fault != nil || len(all) == 0 {
		return ran{}, errors.Join(fault, errors.New("not every question was answered"))
	}
	spent := time.Since(start).Seconds()
	// In milliseconds.
	at := func(some []asked, share float64) float64 {
		slices.SortFunc(some, func(a, b asked) int { return cmp.Compare(a.took, b.took) })
		return some[int(float64(len(some))*share)].took.Seconds() * 1e3
	}
	perSecond := map[int][]asked{}
	for _, one := range all {
		// A few begin just after the last second.
		second := min(int(one.due/time.Second), seconds-1)
		perSecond[second] = append(perSecond[second], one)
	}
	var p99s []float64
	for _, some := range perSecond {
		p99s = append(p99s, at(some, 0.99))
	}
	slices.Sort(p99s)
	return ran{concurrency, rate, len(all), float64(len(all)) / spent, at(all, 0.5), at(all, 0.99), p99s[len(p99s)/2]}, nil
}

// execute runs several statements.
func execute(ctx context.Context, db *pgxpool.Pool, statements string) error {
	connection, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer connection.Release()
	_, err = connection.Conn().PgConn().Exec(ctx, statements).ReadAll()
	return err
}

func measure(postgres string, subjects int64, seconds int, concurrencies []int, rate float64) (runs []ran, err error) {
	ctx := context.Background()
	db, err := pgxpool.New(ctx, postgres)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := execute(ctx, db, fmt.Sprintf(tables, subjects)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, execute(ctx, db, drop)) }()
	serverCertificate, serverKey, err := selfSigned("service")
	if err != nil {
		return nil, err
	}
	bankCertificate, bankKey, err := selfSigned("bank")
	if err != nil {
		return nil, err
	}
	bank, err := tls.X509KeyPair(bankCertificate, bankKey)
	if err != nil {
		return nil, err
	}
	server := exec.Command(os.Args[0], "--serve", "--postgres", postgres)
	server.Stderr = os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = in.Close()
		err = errors.Join(err, server.Wait())
	}()
	if err := json.NewEncoder(in).Encode([3][]byte{serverCertificate, serverKey, bankCertificate}); err != nil {
		return nil, err
	}
	var address string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		return nil, fmt.Errorf("the server does not start: %w", err)
	}
	var next atomic.Int64
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(serverCertificate)
	// Connections stay open, one for each question on its way. They are opened, and the server's to the database, before
	// anything is measured.
	query := "https://" + address + "/v1/query"
	bankOf := func(open int) (*http.Client, error) {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{bank}},
			MaxConnsPerHost: open, MaxIdleConnsPerHost: open, MaxIdleConns: open,
		}}
		_, err := load(client, query, subjects, 1, open, 0, &next)
		return client, err
	}
	for _, concurrency := range concurrencies {
		client, err := bankOf(concurrency)
		if err != nil {
			return nil, err
		}
		r, err := load(client, query, subjects, seconds, concurrency, 0, &next)
		if err != nil {
			return nil, err
		}
		client.CloseIdleConnections()
		runs = append(runs, r)
	}
	if rate > 0 {
		client, err := bankOf(connections)
		if err != nil {
			return nil, err
		}
		r, err := load(client, query, subjects, seconds, 0, rate, &next)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}

func main() {
	log.SetFlags(0)
	postgres := flag.String("postgres", "", "database, as a URL or as key=value words")
	subjects := flag.Int64("subjects", 10_000, "subjects with one record and one grant each")
	seconds := flag.Int("seconds", 10, "seconds at each concurrency")
	concurrency := flag.String("concurrency", "", "questions on their way at once, one run for each number")
	rate := flag.Float64("rate", 0, "questions a second that come at random moments, in one more run")
	server := flag.Bool("serve", false, "be the server (started by this program itself)")
	flag.Parse()
	if *server {
		if err := serve(*postgres); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *concurrency == "" && !(*rate > 0) || math.IsInf(*rate, 0) {
		log.Fatal("say what to measure: --concurrency 1,16 or --rate 1000")
	}
	var concurrencies []int
	for word := range strings.FieldsFuncSeq(*concurrency, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			log.Fatalf("--concurrency: `%s` is no number of questions", word)
		}
		concurrencies = append(concurrencies, n)
	}
	runs, err := measure(*postgres, *subjects, *seconds, concurrencies, *rate)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(runs); err != nil {
		log.Fatal(err)
	}
}
