// Package queueadmin opens the queue of a data folder and gives commands access
// to it: over the control socket if the server is running (client.go,
// handler.go), otherwise directly.
package queueadmin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/control"
	"hoplite/mail"
	"hoplite/relay/queue"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/journal/disk"
	"hoplite/relay/queue/record"
)

// Callbacks connects a server's queue with the rest of the server. Commands
// open the queue without them.
type Callbacks struct {
	// Sender returns the reverse path to use for a recipient.
	Sender func(from mail.Address, r mail.Rcpt) mail.Address
	// Sign signs reports; see queue.Options.
	Sign func(upstream string, m *mail.Message) *mail.Message
	// Attempted is called after each delivery attempt.
	Attempted func(queue.Attempt)
	// Synced is called after each commit to disk.
	Synced func(records int, took time.Duration)
	// Spare keeps a segment ready for new mail.
	Spare bool
}

// Open opens the queue in the data folder, which the caller must have locked.
func Open(cfg *config.Config, log zerolog.Logger, calls Callbacks) (*queue.Queue, error) {
	return open(cfg, log, calls, func(o disk.Options) (journal.Journal, error) { return disk.Open(o) })
}

// openToRead is like Open, but nothing on disk is created, changed or repaired.
func openToRead(cfg *config.Config, log zerolog.Logger) (*queue.Queue, error) {
	return open(cfg, log, Callbacks{}, func(o disk.Options) (journal.Journal, error) { return disk.OpenToRead(o) })
}

func open(cfg *config.Config, log zerolog.Logger, calls Callbacks, openJournal func(disk.Options) (journal.Journal, error)) (*queue.Queue, error) {
	dir := cfg.Under("queue")
	pace := &gcPace{}
	defer pace.load()()
	j, err := openJournal(disk.Options{
		Dir: dir, Inline: int64(cfg.Queue.Inline), Envelope: record.Envelope, Log: log, Synced: calls.Synced, Spare: calls.Spare,
	})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	q, err := queue.Open(queue.Options{
		Journal: j, Settings: cfg.QueueSettings(), Free: func() (int64, error) { return queue.FreeSpace(dir) },
		Inject: filepath.Join(dir, "inject"), Sender: calls.Sender, Sign: calls.Sign, Attempted: calls.Attempted, Resized: pace.resized, Log: log,
	})
	if err != nil {
		j.Close()
		return nil, err
	}
	return q, nil
}

// Connect returns the queue of a data folder: that of the running server, or
// else the one in the files, which the closer closes. If the data folder has no
// queue, an empty one is returned. Unless changes is set, nothing on disk is
// created or changed, and orders have no effect.
func Connect(ctx context.Context, cfg *config.Config, changes bool, log zerolog.Logger) (Admin, io.Closer, error) {
	client := running{control.NewClient(cfg.Data)}
	_, err := client.List(ctx, queue.Filter{IDs: []string{"-"}}, 1)
	if err == nil {
		return client, io.NopCloser(nil), nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return nil, nil, err
	}
	if _, err := os.Stat(cfg.Under("queue")); errors.Is(err, fs.ErrNotExist) {
		return empty{}, io.NopCloser(nil), nil
	}
	take, load := control.LockToRead, openToRead
	if changes {
		take = control.Lock
		load = func(cfg *config.Config, log zerolog.Logger) (*queue.Queue, error) { return Open(cfg, log, Callbacks{}) }
	}
	lock, err := take(cfg.Data)
	if err != nil {
		return nil, nil, err
	}
	q, err := load(cfg, log)
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	return stopped{q}, closers{q, lock}, nil
}

// closers closes several closers in order.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}
