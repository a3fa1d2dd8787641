package maildrop

import (
	"sync"

	"github.com/rs/zerolog"

	"hoplite/internal/parallel"
	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// dateLookup looks up the dates of files in cur whose sizes were taken from
// their names.
type dateLookup struct {
	*index.DateLookup
	msgs []*Message // messages whose Dates field is this look-up

	mu    sync.Mutex
	wrong []uint32 // UIDs of messages with a wrong size in their name
}

func newDateLookup(d *files, log zerolog.Logger) *dateLookup {
	t := &dateLookup{}
	t.DateLookup = index.NewDateLookup(func() { t.run(d, log) })
	return t
}

// run looks up the dates.
func (t *dateLookup) run(d *files, log zerolog.Logger) {
	err := parallel.Do(len(t.msgs), func(i int) error {
		if m := t.msgs[i]; m.Dates == t.DateLookup {
			t.date(d, m)
		}
		return nil
	})
	if err != nil {
		log.Error().Err(err).Str("folder", d.dir.Path()).Msg("read message dates")
	}
	t.msgs = nil
}

// date looks up the dates of one message.
func (t *dateLookup) date(d *files, m *Message) {
	st, err := d.cur.Stat(m.File)
	if err != nil {
		// The file no longer exists, which the next Sync will detect. Its name
		// also contains a date.
		m.Date = maildir.ArrivalTime(m.File)
		m.Saved = m.Date
		return
	}
	m.Date, m.Saved = st.MTime.Unix(), st.CTime.Unix()
	if st.Size != m.Size {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.wrong = append(t.wrong, m.UID)
	}
}
