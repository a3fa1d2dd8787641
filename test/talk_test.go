package test

import (
	"bufio"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"hoplite/internal/resolve/resolvetest"
)

// A conversation is a text file with sections:
//
//	-- relay.hcl --            the configuration; a hostname, the data folder and
//	                           a listener are added if missing
//	-- zone --                 the whole DNS, as parsed by resolvetest.ParseZone
//	-- accounts --             lines "ADDRESS PASSWORD"
//	-- var/NAME --             a file in the data folder
//	-- upstream NAME --        an upstream server; $NAME in the configuration is
//	                           its address. It accepts everything unless a line
//	                           "COMMAND -> REPLY" applies; "." is the end of data
//	-- talk [LISTENER] --      a dialogue on a new connection
//	C: text                    the client sends a line
//	S: pattern                 the server's next line; * matches anything
//	S+ pattern                 a reply whose last line matches
//	TLS                        the TLS handshake
//	EOF                        the server closes
//	-- new ADDRESS [FOLDER] -- the newest mail in that mailbox contains these
//	                           lines, in this order
//	-- empty ADDRESS --        the mailbox is empty
//	-- arrived NAME --         the last message at that upstream contains these
//	                           lines
//	-- asked NAME --           that upstream received these commands, in this order
//	-- log --                  each line is found in the log
//	-- run ARGUMENTS --        "hoplite ARGUMENTS" prints these lines, in order
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("conversations/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			converse(t, a)
		})
	}
}

func converse(t *testing.T, a *txtar.Archive) {
	s := prepare(t, "")
	config, dns := "", ""
	peers := map[string]*peer{}
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "upstream "); ok {
			peers[name] = newPeer(t, string(f.Data))
		}
	}
	for _, f := range a.Files {
		switch name, text := f.Name, string(f.Data); {
		case name == "zone":
			dns = serveZone(t, text)
		case name == "relay.hcl":
			config = completed(text)
		case strings.HasPrefix(name, "var/"):
			s.write(name, text)
		}
	}
	for name, p := range peers {
		config = strings.ReplaceAll(config, "$"+name, p.l.Addr().String())
	}
	s.write("relay.hcl", config+dns)
	for _, f := range a.Files {
		if f.Name == "accounts" {
			for line := range strings.Lines(string(f.Data)) {
				name, password, _ := strings.Cut(strings.TrimSpace(line), " ")
				s.must(password+"\n", "user", "add", name)
			}
		}
	}
	s.start()
	for _, f := range a.Files {
		kind, rest, _ := strings.Cut(f.Name, " ")
		switch text := string(f.Data); kind {
		case "talk":
			s.talk(rest, text)
		case "new":
			s.newest(rest, text)
		case "empty":
			if mails := s.mails(rest, ""); len(mails) > 0 {
				t.Errorf("%s has mail: %v", rest, mails)
			}
		case "log":
			for want := range strings.Lines(text) {
				s.waitFor("log line "+want, func() bool { return anyLine(s.log.String(), strings.TrimSpace(want)) })
			}
		case "run":
			s.waitFor(f.Name, func() bool {
				out, _ := s.run("", strings.Fields(rest)...)
				missing := inOrder(out, text)
				if missing != "" {
					t.Logf("%s: no line %q in\n%s", f.Name, missing, out)
				}
				return missing == ""
			})
		case "arrived", "asked":
			s.waitFor(f.Name, func() bool {
				got := peers[rest].newest()
				if kind == "asked" {
					got = peers[rest].commands()
				}
				missing := inOrder(got, text)
				if missing != "" {
					t.Logf("%s: no line %q in\n%s", f.Name, missing, got)
				}
				return missing == ""
			})
		case "relay.hcl", "accounts", "zone", "upstream":
		default:
			if !strings.HasPrefix(kind, "var/") {
				t.Errorf("unknown section %q", f.Name)
			}
		}
	}
}

// serveZone serves a DNS zone until the test ends and returns a dns block that
// uses it.
func serveZone(t *testing.T, text string) string {
	t.Helper()
	zone, err := resolvetest.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	at, err := zone.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return "\ndns {\n  server = \"" + at.String() + "\"\n}\n"
}

// completed adds the parts of a configuration that a conversation may omit.
func completed(config string) string {
	if !strings.Contains(config, "hostname") {
		config = "hostname = \"mail.example.org\"\n" + config
	}
	if !strings.Contains(config, "data ") {
		config = "data = \"var\"\n" + config
	}
	if !regexp.MustCompile(`(?m)^(smtp|lmtp|pop3|imap|web) `).MatchString(config) {
		config += "\nsmtp \"inbound\" {\n  listen = [\"127.0.0.1:0\"]\n  chain = \"inbound\"\n}\n"
	}
	return config
}

// talk runs one dialogue.
func (s *server) talk(listener, script string) {
	s.t.Helper()
	if listener == "" {
		listener = "inbound"
	}
	network, addr := "tcp", s.addr[listener]
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", filepath.Join(s.dir, "var", path)
	}
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		s.t.Fatalf("talk %s: %v", listener, err)
	}
	defer func() { conn.Close() }()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		kind, text, _ := strings.Cut(line, " ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case kind == "C:":
			if _, err := conn.Write([]byte(text + "\r\n")); err != nil {
				s.t.Fatalf("%s: %v", line, err)
			}
		case kind == "S:" || kind == "S+":
			got, err := in.ReadString('\n')
			for kind == "S+" && err == nil && len(got) > 3 && got[3] == '-' {
				got, err = in.ReadString('\n')
			}
			got = strings.TrimSuffix(got, "\r\n")
			if err != nil || !matches(text, got) {
				s.t.Fatalf("%s\ngot %q, %v\n%s", line, got, err, s.log)
			}
		case line == "TLS":
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			if err := secure.Handshake(); err != nil {
				s.t.Fatalf("TLS: %v", err)
			}
			conn, in = secure, bufio.NewReader(secure)
		case line == "EOF":
			if got, err := in.ReadString('\n'); err == nil {
				s.t.Fatalf("the server does not close the connection: %q", got)
			}
		default:
			s.t.Fatalf("not a line of a talk: %q", line)
		}
	}
}

// matches reports whether a line matches a pattern. In the pattern, * matches
// anything.
func matches(pattern, line string) bool {
	parts := strings.Split(pattern, "*")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(line)
}

func anyLine(text, pattern string) bool {
	for line := range strings.Lines(text) {
		if matches("*"+pattern+"*", strings.TrimRight(line, "\r\n")) {
			return true
		}
	}
	return false
}

// inOrder looks for lines that match the patterns in order, and returns the
// first pattern without a match.
func inOrder(text, patterns string) string {
	lines := strings.Split(text, "\n")
	for pattern := range strings.Lines(patterns) {
		pattern = strings.TrimRight(pattern, "\n")
		found := false
		for len(lines) > 0 && !found {
			found = matches(pattern, strings.TrimRight(lines[0], "\r"))
			lines = lines[1:]
		}
		if !found {
			return pattern
		}
	}
	return ""
}

// mails returns the files of a mailbox, oldest first.
func (s *server) mails(address, folder string) []string {
	user, domain, _ := strings.Cut(address, "@")
	box := filepath.Join(s.dir, "var", "mail", domain, user)
	if folder != "" {
		box = filepath.Join(box, "."+folder)
	}
	mails, err := filepath.Glob(filepath.Join(box, "[nc][eu][wr]", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	sort.Slice(mails, func(i, j int) bool { return filepath.Base(mails[i]) < filepath.Base(mails[j]) })
	return mails
}

func (s *server) newest(where, want string) {
	s.t.Helper()
	address, folder, _ := strings.Cut(where, " ")
	mails := s.mails(address, folder)
	if len(mails) == 0 {
		s.t.Fatalf("no mail for %s\n%s", where, s.log)
	}
	text, err := os.ReadFile(mails[len(mails)-1])
	if err != nil {
		s.t.Fatal(err)
	}
	if missing := inOrder(string(text), want); missing != "" {
		s.t.Errorf("%s: no line %q in\n%s", where, missing, text)
	}
}

// waitFor polls until ok returns true.
func (s *server) waitFor(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("timeout while waiting for %s\n%s", what, s.log)
		}
	}
}
