package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// limits maps a word in the first column of the table in docs/security.md to
// the tests of that limit.
var limits = map[string][]string{
	"max_connections":  {"relay.TestTurnedAway", "internal/listen.TestNoFiles", "internal/listen.TestTotal"},
	"max_per_address":  {"internal/listen.TestPerClient", "internal/listen.TestExempt", "internal/listen.TestOpenExemptsProxies"},
	"max_errors":       {"relay/wire.TestErrorsEndTheSession", "relay/wire.TestTooManyCommands", "relay/wire.TestTally"},
	"throttling":       {"internal/users/login.TestGuessingIsThrottledOverAllWays", "internal/users.TestThrottle"},
	"open folders":     {"maildrop.TestDescriptorsOfOneAccount", "maildrop.TestIdleFoldersHoldNoDescriptor", "internal/handles.TestBudgets"},
	"octets read":      {"imap.TestWorkBudget", "imap.TestSearchesOfOneAccount", "imap.TestPiecesByTurns"},
	"login_rate":       {"relay.TestLoginRate"},
	"min_rate":         {"relay.TestLimits", "relay/wire.TestSizeLimit", "relay/wire.TestDeadlines", "relay.TestSlowClients"},
	"Received":         {"relay.TestTooManyHops", "relay.TestLooped"},
	"OLE":              {"mail/attachments.TestBombs", "mail/mime.TestBombs", "filters/all.TestBombs"},
	"one log line":     {"internal/quiet.TestLimiter", "internal/quiet.TestPanic", "internal/users/login.TestFailuresDoNotFillTheLog"},
	"bare":             {"relay.TestSmuggling", "relay/wire.TestBareEnd"},
	"web login":        {"web.TestSessions", "web.TestSessionsEnd", "web.TestLoginNeedsTLS"},
	"tls_legacy_until": {"internal/listen.TestNoCBC", "internal/listen.TestLegacy"},
	"A panic":          {"relay.TestPanicEndsOneSession", "internal/listen.TestPanic"},
}

// Each limit listed in docs/security.md has a test, and the systemd unit
// contains each setting that the page explains.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Limits\n")
	section, rest, _ := strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("docs/security.md has no section about limits")
	}
	used := map[string]bool{}
	for line := range strings.Lines(section) {
		cell, _, isRow := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !isRow || cell == "Limit" || cell == "---" {
			cell = ""
		}
		found := cell == ""
		for word := range limits {
			if strings.Contains(cell, word) || !isRow && strings.Contains(line, word) {
				found, used[word] = true, true
			}
		}
		if !found {
			t.Errorf("no test is known for the limit %q", cell)
		}
	}
	for word, tests := range limits {
		if !used[word] {
			t.Errorf("docs/security.md does not name %q", word)
		}
		for _, name := range tests {
			if dir, fn, _ := strings.Cut(name, "."); !hasTest(t, dir, fn) {
				t.Errorf("%s does not exist", name)
			}
		}
	}
	unit, err := os.ReadFile("../docs/hoplite.service")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([A-Z][A-Za-z]+)(=[^`]*)?`").FindAllStringSubmatch(rest, -1)
	if len(names) < 10 {
		t.Errorf("only %d settings of the unit are explained", len(names))
	}
	for _, m := range names {
		if !strings.Contains(string(unit), "\n"+m[1]+"="+strings.TrimPrefix(m[2], "=")) {
			t.Errorf("docs/hoplite.service does not set %s%s", m[1], m[2])
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
