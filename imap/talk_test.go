package imap

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// TestTalks runs the conversations in testdata/talk. A line "C: ..." is sent
// unchanged, "S: ..." must be the next response, and after "E:" the connection
// must be closed. A digit, as in "C2:", selects another connection. "\n" is a
// line break within a command or response, and "…" matches anything. A
// conversation starts after login, unless its name begins with "anonymous".
func TestTalks(t *testing.T) {
	files, err := filepath.Glob("testdata/talk/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			must(t, err)
			play(t, name, string(text))
		})
	}
}

func play(t *testing.T, name, text string) {
	cfg := maildrop.Config{}
	if strings.HasPrefix(name, "quota") {
		cfg.Quota = 10_000
	}
	d := open(t, Config{AppendLimit: 100_000}, cfg)
	conns := map[string]*client{}
	for i, line := range strings.Split(text, "\n") {
		who, what, ok := strings.Cut(line, ": ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, found := strings.CutSuffix(line, ":"); found {
			who, what = rest, ""
		}
		id := who[1:]
		c := conns[id]
		if c == nil {
			if c = d.dial(t); !strings.HasPrefix(name, "anonymous") {
				c.ok(`LOGIN ann "secret word"`)
			}
			conns[id] = c
		}
		what = strings.ReplaceAll(what, `\n`, "\n")
		switch who[0] {
		case 'C':
			c.send(sized(what) + "\n")
		case 'S':
			got := strings.ReplaceAll(c.line(), "\r\n", "\n")
			want := "^(?s:" + strings.ReplaceAll(regexp.QuoteMeta(what), "…", ".*") + ")$"
			if !regexp.MustCompile(want).MatchString(got) {
				t.Fatalf("line %d:\ngot  %q\nwant %q", i+1, got, what)
			}
		case 'E':
			if l, err := c.readLine(); err == nil {
				t.Fatalf("line %d: the connection continues with %q", i+1, l)
			}
		default:
			t.Fatalf("line %d: %q", i+1, line)
		}
	}
}

// sized replaces each "{+}" with a literal that contains the text up to "<<<".
func sized(s string) string {
	for {
		i := strings.Index(s, "{+}\n")
		if i < 0 {
			return s
		}
		body := s[i+4:]
		end := strings.Index(body, "<<<")
		if end < 0 {
			return s
		}
		n := len(strings.ReplaceAll(body[:end], "\n", "\r\n"))
		s = s[:i] + "{" + strconv.Itoa(n) + "+}\n" + body[:end] + body[end+3:]
	}
}
