package journal_test

import (
	"testing"

	"github.com/rs/zerolog"

	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/journal/journaltest"
)

func TestLogIsAJournal(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) func() journaltest.Journal {
		dir := t.TempDir()
		return func() journaltest.Journal {
			l, err := journal.Open(journal.Options{Dir: dir, Log: zerolog.New(zerolog.NewTestWriter(t))})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	})
}

// Tiny segments and no mail inside the log: everything is reclaimed and moved
// all the time.
func TestLogIsAJournalInTightSpace(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) func() journaltest.Journal {
		dir := t.TempDir()
		return func() journaltest.Journal {
			l, err := journal.Open(journal.Options{Dir: dir, Segment: 4 << 10, Inline: 2 << 10, Age: 1, Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	})
}

func TestMemoryIsAJournal(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) func() journaltest.Journal {
		j := journal.NewMemory()
		return func() journaltest.Journal {
			j = j.Reopen()
			return j
		}
	})
}
