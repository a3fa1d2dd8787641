package imap

import (
	"testing"
	"testing/synctest"
	"time"

	"hoplite/imap/wire"
)

func TestProgress(t *testing.T) {
	tests := []struct {
		name, tag string
		total     int
		want      string
	}{
		{"total known", "a1", 10, "* OK [INPROGRESS (\"a1\" 3 10)] Still working\r\n* OK [INPROGRESS (\"a1\" 4 10)] Still working\r\n"},
		{"total unknown", "a1", 0, "* OK [INPROGRESS (\"a1\" NIL NIL)] Still working\r\n* OK [INPROGRESS (\"a1\" NIL NIL)] Still working\r\n"},
		{"bracket in the tag", "a]", 10, "* OK [INPROGRESS (NIL 3 10)] Still working\r\n* OK [INPROGRESS (NIL 4 10)] Still working\r\n"},
		{"more than expected", "a", 2, "* OK [INPROGRESS (\"a\" 2 2)] Still working\r\n* OK [INPROGRESS (\"a\" 2 2)] Still working\r\n"},
	}
	srv := &Server{dialect: newDialect(extensions)}
	for _, tc := range tests {
		synctest.Test(t, func(t *testing.T) {
			var out logBook
			c := &call{session: &session{srv: srv}, out: output{wire.NewWriter(&out)}, tag: tc.tag}
			p := c.begin(tc.total)
			for range 3 {
				p.step()
			}
			time.Sleep(progressEvery - 1)
			if out.String() != "" {
				t.Errorf("%s: sent too early", tc.name)
			}
			time.Sleep(2 * time.Nanosecond)
			p.step()
			time.Sleep(progressEvery)
			p.end()
			time.Sleep(5 * progressEvery)
			if out.String() != tc.want {
				t.Errorf("%s: got %q, want %q", tc.name, out.String(), tc.want)
			}
		})
	}
	// Nothing is sent by a server without the extension.
	synctest.Test(t, func(t *testing.T) {
		var out logBook
		c := &call{session: &session{srv: &Server{dialect: newDialect(nil)}}, out: output{wire.NewWriter(&out)}, tag: "a"}
		p := c.begin(1)
		time.Sleep(5 * progressEvery)
		p.end()
		if out.String() != "" {
			t.Errorf("without the extension: %q", out.String())
		}
	})
}
