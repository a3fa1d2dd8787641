package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/control"
	"hoplite/mail"
	"hoplite/relay/queue"
	"hoplite/relay/queue/journal/disk"
)

// QueueConfig is the block queue { ... }: what all queued mail has in common.
// How long an upstream's mail is tried is said in its own block.
type QueueConfig struct {
	// Reserve is the free space on the disk below which new mail is put off with
	// 452, so that what is queued can still be dealt with.
	Reserve conf.Bytes `hcl:"reserve,optional" default:"100MiB"`
	// HoldTime is how long quarantined and held mail waits for a person; then it
	// is dropped.
	HoldTime time.Duration `hcl:"hold_time,optional" default:"30d"`
	// Workers is how many messages are handed over at once, over all
	// destinations.
	Workers int `hcl:"workers,optional" default:"200"`
	// Inline is the largest message that is kept inside the log; a larger one
	// gets a file of its own. A change counts from the next start.
	Inline conf.Bytes `hcl:"inline,optional" default:"256KiB"`
}

// queueParts are what a server adds to a queue that a command opens without.
type queueParts struct {
	sender    func(from mail.Address, r mail.Rcpt) mail.Address
	attempted func(queue.Attempt)
	synced    func(records int, took time.Duration)
	spare     bool // a segment is kept ready for what comes
}

func (c *Config) queue() *QueueConfig {
	if c.Queue != nil {
		return c.Queue
	}
	qc := &QueueConfig{}
	conf.Defaults(qc)
	return qc
}

// queueSettings are what a reload may change.
func (c *Config) queueSettings() queue.Settings {
	qc := c.queue()
	postmaster, err := mail.ParseAddress(c.Postmaster)
	if err != nil { // the configuration may leave it out
		postmaster, _ = mail.Join("postmaster", c.Hostname)
	}
	return queue.Settings{
		Hostname: c.Hostname, Postmaster: postmaster, Workers: qc.Workers, HoldTime: qc.HoldTime, Reserve: int64(qc.Reserve),
	}
}

// openQueue opens the queue in the data folder, whose lock the caller holds.
func openQueue(cfg *Config, log zerolog.Logger, parts queueParts) (*queue.Queue, error) {
	qc := cfg.queue()
	dir := cfg.under("queue")
	j, err := disk.Open(disk.Options{
		Dir: dir, Inline: int64(qc.Inline), Envelope: queue.Envelope, Log: log, Synced: parts.synced, Spare: parts.spare,
	})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	q, err := queue.Open(queue.Options{
		Journal: j, Settings: cfg.queueSettings(), Free: func() (int64, error) { return queue.FreeSpace(dir) },
		Inject: filepath.Join(dir, "inject"), Sender: parts.sender, Attempted: parts.attempted, Log: log,
	})
	if err != nil {
		j.Close()
		return nil, err
	}
	return q, nil
}

// reachQueue finds the queue of a data folder: the running server's, or that of
// the files. Close gives the latter back.
func reachQueue(ctx context.Context, cfg *Config, log zerolog.Logger) (admin, io.Closer, error) {
	client := running{control.NewClient(cfg.Data)}
	_, err := client.List(ctx, queue.Filter{IDs: []string{"-"}}, 1)
	if err == nil {
		return client, io.NopCloser(nil), nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return nil, nil, err
	}
	lock, err := control.Lock(cfg.Data)
	if err != nil {
		return nil, nil, err
	}
	q, err := openQueue(cfg, log, queueParts{})
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	return stopped{q}, closers{q, lock}, nil
}

// closers closes all, in order.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}
