package queue_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/hoptest"
	"hoplite/relay/queue"
	"hoplite/relay/queue/journal/disk"
)

func TestQueueIsAHop(t *testing.T) {
	for _, mode := range []string{"queue", "direct", "auto"} {
		t.Run(mode, func(t *testing.T) {
			hoptest.Run(t, func(t *testing.T) hoptest.Hop {
				j, err := disk.Open(disk.Options{Dir: filepath.Join(t.TempDir(), "queue"), Log: zerolog.Nop()})
				if err != nil {
					t.Fatal(err)
				}
				q, err := queue.Open(queue.Options{Journal: j, Settings: queue.Settings{Hostname: "mail.example.org"}, Log: zerolog.Nop()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { q.Close() })
				// The upstream of an in-line hop is also a queue.
				hop := q.Hop("out")
				if mode != "queue" {
					hop = q.Direct("direct", q.Hop("out"), mode == "auto")
				}
				return hoptest.Hop{Hop: hop, Takes: func(n int) mail.Address {
					return mail.Address(fmt.Sprintf("user%d@example.net", n))
				}}
			})
		})
	}
}
