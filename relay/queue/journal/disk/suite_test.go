package disk_test

import (
	"testing"

	"github.com/rs/zerolog"

	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/journal/disk"
	"hoplite/relay/queue/journal/journaltest"
)

func TestLogIsAJournal(t *testing.T) {
	for name, opt := range map[string]disk.Options{
		"with the usual sizes": {},
		// Every message gets its own file, and every segment is reclaimed.
		"in tiny segments": {Segment: 4 << 10, Inline: 2 << 10, Age: 1},
	} {
		t.Run(name, func(t *testing.T) {
			journaltest.Run(t, func(t *testing.T) func() journal.Journal {
				opt := opt
				opt.Dir, opt.Log = t.TempDir(), zerolog.Nop()
				return func() journal.Journal {
					l, err := disk.Open(opt)
					if err != nil {
						t.Fatal(err)
					}
					return l
				}
			})
		})
	}
}
