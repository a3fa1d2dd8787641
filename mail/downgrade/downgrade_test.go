package downgrade

import (
	"strings"
	"testing"

	"hoplite/mail"
)

func TestField(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"address list":   {"To: J\u00f6rg M\u00fcller <j@example.org>, k@b\u00fccher.example\r\n", "To: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <j@example.org>,\r\n <k@xn--bcher-kva.example>\r\n"},
		"Latin-1":        {"Subject: gr\xfc\xdfe\r\n", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"},
		"own grammar":    {"Message-ID: <\u00fc@example.org>\r\n", "Downgraded-Message-ID: =?utf-8?q?<=C3=BC@example.org>?=\r\n"},
		"left alone":     {"Subject:  plain   text\r\n", "Subject:  plain   text\r\n"},
		"local part":     {"From: \u00fc@example.org\r\n", "error"},
		"no field":       {"\u00fcber\r\n", "X-Broken-Field: =?utf-8?q?=C3=BCber?=\r\n"},
		"file name":      {"Content-Disposition: attachment; filename=\"\u00fc.pdf\"\r\n", "Content-Disposition: attachment; filename*=utf-8''%C3%BC.pdf\r\n"},
		"folded subject": {"Subject: " + strings.Repeat("\u00fc", 30) + "\r\n", "Subject: =?utf-8?q?=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC?=\r\n =?utf-8?q?=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC?=\r\n =?utf-8?q?=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC?=\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			for f := range mail.Fields([]byte(tt.in)) {
				line, err := Field(f)
				if got += string(line); err != nil {
					got = "error"
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"From: Ann <ann@example.org>\r\n":              "From: Ann <ann@example.org>\r\n",
		"From: J\u00f6rg <j\u00f6rg@example.org>\r\n":  "From: =?utf-8?b?SsO2cmcgasO2cmdAZXhhbXBsZS5vcmc=?=\r\n <invalid@internationalized-address.invalid>\r\n",
		"To: j\u00f6rg@example.org, k@example.org\r\n": "To: =?utf-8?b?asO2cmdAZXhhbXBsZS5vcmc=?=\r\n <invalid@internationalized-address.invalid>, <k@example.org>\r\n",
		"Cc: \u00fc: a@b\u00fccher.example;\r\n":       "Cc: =?utf-8?q?=C3=BC:?= <a@xn--bcher-kva.example>;\r\n",
		"To: j\u00f6rg\r\n":                            "To: =?utf-8?q?j=C3=B6rg?=\r\n",
		"Content-Type: \u00fc/x\r\n":                   "Downgraded-Content-Type: =?utf-8?q?=C3=BC/x?=\r\n",
		"Message-ID: <\u00fc@example.org>\r\n":         "Downgraded-Message-ID: =?utf-8?q?<=C3=BC@example.org>?=\r\n",
	} {
		var got string
		for f := range mail.Fields([]byte(in)) {
			got += string(Shown(f))
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Every header becomes ASCII, and no field is lost or added.
func FuzzShown(f *testing.F) {
	f.Add("From: J\u00f6rg <j\u00f6rg@example.org>\r\nSubject: \xff\r\n\u00fc\r\n")
	f.Add("To: a: \u00fc@b;, \"\u00fc\" <x@y>\r\nContent-Disposition: attachment; filename=\"\u00fc\"\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for in := range mail.Fields([]byte(text)) {
			out := Shown(in)
			if !ASCII(out) {
				t.Errorf("%q becomes %q", in.Raw, out)
			}
			if ASCII(in.Raw) {
				continue
			}
			n := 0
			for range mail.Fields(out) {
				n++
			}
			if n != 1 {
				t.Errorf("%q becomes %d fields: %q", in.Raw, n, out)
			}
		}
	})
}
