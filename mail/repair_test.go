package mail

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// onDisk is Content that is not held in memory and has its own WriteTo.
type onDisk struct{ *bytes.Reader }

func (f onDisk) Size() int64 { return f.Reader.Size() }

func (f onDisk) CopyTo(w io.Writer, off int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(f.Reader, off, f.Size()-off))
}

func TestRepair(t *testing.T) {
	long := strings.Repeat("no field\r\n", 60000)
	for name, tt := range map[string]struct {
		in, want, repaired string
	}{
		"well-formed":               {in: "Subject: x\r\n\r\nhi\r\n"},
		"no body":                   {in: "Subject: x\r\n"},
		"no header":                 {in: "\r\nhi\r\n"},
		"nothing":                   {in: ""},
		"a space before the colon":  {in: "Subject : x\r\n\r\nhi\r\n"},
		"folded":                    {in: "Subject: x\r\n \r\n\ty: z\r\n\r\nhi\r\n"},
		"first line continues ours": {"\t; dkim=pass header.d=bank.example\r\nFrom: a@b\r\n\r\nhi\r\n", "\r\n\t; dkim=pass header.d=bank.example\r\nFrom: a@b\r\n\r\nhi\r\n", RepairedEnd},
		"first line is a space":     {" \r\nFrom: a@b\r\n\r\nhi\r\n", "\r\n \r\nFrom: a@b\r\n\r\nhi\r\n", RepairedEnd},
		"text without a header":     {"Battery low on UPS 3\r\nPlease check\r\n", "\r\nBattery low on UPS 3\r\nPlease check\r\n", RepairedEnd},
		"no empty line":             {"Subject: Backup report\r\nJob ran fine\r\n", "Subject: Backup report\r\n\r\nJob ran fine\r\n", RepairedEnd},
		"a line that is no field":   {"Subject: x\r\n folded\r\n>From x\r\nTo: y@z\r\n\r\nhi\r\n", "Subject: x\r\n folded\r\n\r\n>From x\r\nTo: y@z\r\n\r\nhi\r\n", RepairedEnd},
		"mbox":                      {"From ann@example.org Thu Jan  1 00:00:00 2026\r\nSubject: x\r\n\r\nhi\r\n", "X-Mailbox-Line: From ann@example.org Thu Jan  1 00:00:00 2026\r\nSubject: x\r\n\r\nhi\r\n", RepairedMbox},
		"mbox, no header":           {"From here it is text\r\nmore\r\n", "X-Mailbox-Line: From here it is text\r\n\r\nmore\r\n", RepairedMbox + "; " + RepairedEnd},
		"mbox line further down":    {"Subject: x\r\nFrom ann\r\n\r\nhi\r\n", "Subject: x\r\n\r\nFrom ann\r\n\r\nhi\r\n", RepairedEnd},
		"large, without a header":   {long, "\r\n" + long, RepairedEnd},
	} {
		t.Run(name, func(t *testing.T) {
			want := tt.want
			if tt.repaired == "" {
				want = tt.in
			}
			for _, base := range []Content{Bytes(tt.in), onDisk{bytes.NewReader([]byte(tt.in))}} {
				m, err := NewMessage(base)
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				if n, err := m.WriteTo(&out); err != nil || n != int64(out.Len()) || m.Size() != n {
					t.Errorf("%d octets written, size %d, %v", n, m.Size(), err)
				}
				read, err := io.ReadAll(m.Reader())
				if out.String() != want || string(read) != want || err != nil || m.Repaired != tt.repaired {
					t.Errorf("%.200q, %q (%v), want %.200q, %q", out.String(), m.Repaired, err, want, tt.repaired)
				}
				for f := range Fields(m.Head) {
					if f.Name == "" {
						t.Errorf("%q is in the header", f.Raw)
					}
				}
				top := "Received: by us\r\n"
				if got := string(m.Edited([]byte(top)).Header()); !strings.HasPrefix(got, top) || strings.HasPrefix(got[len(top):], " ") || strings.HasPrefix(got[len(top):], "\t") {
					t.Errorf("our field goes on in %.200q", got)
				}
			}
		})
	}
	fields := strings.Repeat("X-A: "+strings.Repeat("y", 300)+"\r\n", 900)
	for _, in := range []string{fields, fields + "no field\r\n", strings.Repeat("z", MaxHeader+10)} {
		if _, err := NewMessage(Bytes(in)); !errors.Is(err, ErrHeaderLong) {
			t.Errorf("%.20q: %v, want %v", in, err, ErrHeaderLong)
		}
	}
}
