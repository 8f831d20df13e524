// pgx with pgxpool: eight workers, each with one write after the other, and a line in the ledger for each write.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	workers = 8
	pause   = 100 * time.Millisecond // between two writes of one worker
)

// settings of a list "host:port,host:port".
func settings(hosts, target string) string {
	if target == "pooler" {
		// A pooler in transaction mode loses prepared statements.
		return fmt.Sprintf("postgres://%s/?pool_max_conns=%d&default_query_exec_mode=exec", hosts, workers)
	}
	return fmt.Sprintf("postgres://%s/?target_session_attrs=%s&pool_max_conns=%d", hosts, target, workers)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if strings.HasPrefix(module.Path, "github.com/jackc/pgx/") {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "?"
}

type line map[string]any

func main() {
	hosts, target := os.Args[1], os.Args[2]
	file, err := os.OpenFile(os.Args[3], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	var lock sync.Mutex
	write := func(fields line) {
		text, _ := json.Marshal(fields)
		lock.Lock()
		defer lock.Unlock()
		file.Write(append(text, '\n'))
	}
	told := "old:5432,new:5432"
	if target == "pooler" {
		told = "pooler:6432"
	}
	write(line{"driver": "pgx " + version() + ", pgxpool", "settings": fmt.Sprintf("pgxpool.New(ctx, %q)", settings(told, target))})

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	config, err := pgxpool.ParseConfig(settings(hosts, target))
	if err != nil {
		panic(err)
	}
	config.ConnConfig.RuntimeParams["application_name"] = "pgx"
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		panic(err)
	}

	attempt := func(worker int) {
		id, sent := rand.Text(), false
		err := func() error {
			connection, err := pool.Acquire(context.Background())
			if err != nil {
				return err
			}
			defer connection.Release()
			sent = true
			_, err = connection.Exec(context.Background(), "insert into written (id, client) values ($1, 'pgx')", id)
			return err
		}()
		fields := line{"at": float64(time.Now().UnixMicro()) / 1e6, "worker": worker, "id": id}
		if err != nil {
			var refused *pgconn.PgError
			fields["sent"], fields["sqlstate"], fields["error"] = sent && !pgconn.SafeToRetry(err), "", err.Error()
			if errors.As(err, &refused) {
				fields["sqlstate"] = refused.Code
			}
		}
		write(fields)
	}

	var all sync.WaitGroup
	for worker := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for stop.Err() == nil {
				attempt(worker)
				time.Sleep(pause)
			}
		}()
	}
	all.Wait()
}
