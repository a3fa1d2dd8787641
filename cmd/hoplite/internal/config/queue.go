package config

import (
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/queue"
)

// QueueConfig is the queue { ... } block: settings for all queued mail. The
// retry schedule is set in each upstream's block.
type QueueConfig struct {
	// Reserve is the free disk space below which new mail is deferred with 452, so
	// that queued mail can still be delivered.
	Reserve conf.Bytes `hcl:"reserve,optional" default:"100MiB"`
	// HoldTime is how long quarantined and held mail is kept for review before
	// it is deleted.
	HoldTime time.Duration `hcl:"hold_time,optional" default:"30d"`
	// Workers is the maximum number of concurrent deliveries over all
	// destinations.
	Workers int `hcl:"workers,optional" default:"200"`
	// Inline is the maximum size of a message that is stored inside the log; a
	// larger one is stored in a separate file. A change takes effect at the
	// next start.
	Inline conf.Bytes `hcl:"inline,optional" default:"256KiB"`
}

// QueueSettings returns the settings of the queue that a reload may change.
func (c *Config) QueueSettings() queue.Settings {
	postmaster, err := mail.ParseAddress(c.Postmaster)
	if err != nil { // none is configured
		postmaster, _ = mail.Join("postmaster", c.Hostname)
	}
	return queue.Settings{
		Hostname: c.Hostname, Postmaster: postmaster,
		Workers: c.Queue.Workers, HoldTime: c.Queue.HoldTime, Reserve: int64(c.Queue.Reserve),
	}
}
