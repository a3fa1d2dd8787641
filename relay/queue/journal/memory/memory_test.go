package memory_test

import (
	"testing"

	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/journal/journaltest"
	"hoplite/relay/queue/journal/memory"
)

func TestJournal(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) func() journal.Journal {
		j := memory.New()
		return func() journal.Journal {
			j = j.Reopen()
			return j
		}
	})
}
