package maildrop

import (
	"sync"

	"github.com/rs/zerolog"

	"hoplite/internal/parallel"
	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// dating is the look at files of cur that were believed to be as their names
// say.
type dating struct {
	*index.Dating
	msgs []*Message // those that refer to Dating were believed

	mu    sync.Mutex
	wrong []uint32 // UIDs of messages that have another size
}

func newDating(d *files, log zerolog.Logger) *dating {
	t := &dating{}
	t.Dating = index.NewDating(func() { t.run(d, log) })
	return t
}

// run looks at the files.
func (t *dating) run(d *files, log zerolog.Logger) {
	err := parallel.Do(len(t.msgs), func(i int) error {
		if m := t.msgs[i]; m.Dating == t.Dating {
			t.date(d, m)
		}
		return nil
	})
	if err != nil {
		log.Error().Err(err).Str("folder", d.dir.Path()).Msg("dates of messages")
	}
	t.msgs = nil
}

// date looks at one file.
func (t *dating) date(d *files, m *Message) {
	st, err := d.cur.Stat(m.File)
	if err != nil {
		// Gone, which the next reading notices. Its name has a date, too.
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
