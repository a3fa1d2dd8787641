//go:build interop

package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// errLost ends an actor whose server was killed.
var errLost = errors.New("connection lost")

var nextID atomic.Int64

// actor is a client of the stress test with a selected folder.
type actor struct {
	*stress
	*connection
	at  endpoint
	rnd *rand.Rand

	folder, validity string
	uids             []string // UIDs of the messages that the actor knows
}

// do runs a command. ok is false if the server refused it for a reason that
// other concurrent clients can cause.
func (a *actor) do(format string, args ...any) (untagged []string, ok bool, err error) {
	command := fmt.Sprintf(format, args...)
	a.counts.commands.Add(1)
	untagged, status, err := a.run(command)
	if err != nil {
		return nil, false, errLost
	}
	if strings.HasPrefix(status, "OK") {
		return untagged, true, nil
	}
	name, _, _ := strings.Cut(command, "\n")
	switch {
	case strings.Contains(status, "EXPUNGEISSUED"), strings.Contains(status, "TRYCREATE"), strings.Contains(status, "[INUSE]"):
	case a.at.name != "Hoplite" && strings.HasPrefix(status, "NO"):
		a.counts.refused.Add(1)
	default:
		return nil, false, fmt.Errorf("%s: %s", name, status)
	}
	return untagged, false, nil
}

// use selects a folder.
func (a *actor) use(folder string) error {
	untagged, ok, err := a.do("SELECT %s", folder)
	if err == nil && !ok {
		err = fmt.Errorf("SELECT %s was refused", folder)
	}
	if err != nil {
		return err
	}
	for _, line := range untagged {
		if _, rest, found := strings.Cut(line, "[UIDVALIDITY "); found {
			a.validity, _, _ = strings.Cut(rest, "]")
		}
	}
	a.folder = folder
	return a.list()
}

// list reads the UIDs in the folder.
func (a *actor) list() error {
	untagged, _, err := a.do("UID SEARCH ALL")
	for _, line := range untagged {
		if rest, found := strings.CutPrefix(line, "* SEARCH"); found {
			a.uids = strings.Fields(rest)
		}
	}
	return err
}

// step runs a random command.
func (a *actor) step() error {
	if a.folder == "" || a.rnd.IntN(20) == 0 {
		return a.use(stressFolders[a.rnd.IntN(len(stressFolders))])
	}
	switch n := a.rnd.IntN(20); {
	case n < 5 || len(a.uids) == 0:
		return a.store()
	case n < 9:
		_, err := a.fetch(a.pick())
		return err
	case n < 13:
		flags := []string{`\Flagged`, `\Seen`, `\Answered`, "work", "$Later"}
		_, _, err := a.do("UID STORE %s %sFLAGS (%s)", a.some(), []string{"+", "-"}[a.rnd.IntN(2)], flags[a.rnd.IntN(len(flags))])
		return err
	case n < 14:
		_, _, err := a.do("UID COPY %s %s", a.some(), stressFolders[a.rnd.IntN(len(stressFolders))])
		return err
	case n < 16:
		return a.move(stressFolders[a.rnd.IntN(len(stressFolders))])
	case n < 18 && len(a.uids) > 20:
		return a.expunge()
	}
	return a.list()
}

func (a *actor) pick() string { return a.uids[a.rnd.IntN(len(a.uids))] }

// some returns a set of a few UIDs.
func (a *actor) some() string {
	var set []string
	for range 1 + a.rnd.IntN(4) {
		set = append(set, a.pick())
	}
	return strings.Join(set, ",")
}

// move moves messages, except within a folder at Dovecot, which can lose them
// (see TestInteropMoveWithinFolder).
func (a *actor) move(to string) error {
	if a.at == a.theirs && to == a.folder {
		return a.list()
	}
	_, _, err := a.do("UID MOVE %s %s", a.some(), to)
	return err
}

// store appends a message.
func (a *actor) store() error {
	id := fmt.Sprintf("m%d", nextID.Add(1))
	var body strings.Builder
	for range a.rnd.IntN(100) {
		fmt.Fprintf(&body, "%s line %d\r\n", strings.Repeat("x", a.rnd.IntN(60)), a.rnd.Uint64())
	}
	text := fmt.Sprintf("Subject: stress\r\nX-Id: %s\r\n\r\n%s", id, body.String())
	a.ledger.add(id, text)
	_, ok, err := a.do("APPEND %s {%d}\n%s", stressFolders[a.rnd.IntN(len(stressFolders))], len(text), text)
	if ok {
		a.ledger.change(id, func(m *entry) { m.stored = true })
	}
	return err
}

// fetched is the data that FETCH returned for a message.
type fetched struct{ uid, flags, text string }

var (
	uidRE   = regexp.MustCompile(`UID (\d+)`)
	flagsRE = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	bodyRE  = regexp.MustCompile(`BODY\[\] \{(\d+)\}\r\n`)
)

// parseFetched parses a response to FETCH (UID FLAGS BODY.PEEK[]).
func parseFetched(line string) (m fetched, ok bool) {
	at := bodyRE.FindStringSubmatchIndex(line)
	uid := uidRE.FindStringSubmatch(line)
	if at == nil || uid == nil {
		return m, false
	}
	var size int
	fmt.Sscan(line[at[2]:at[3]], &size)
	m.uid, m.text = uid[1], line[at[1]:min(at[1]+size, len(line))]
	if f := flagsRE.FindStringSubmatch(line); f != nil {
		flags := slices.DeleteFunc(strings.Fields(f[1]), func(f string) bool { return f == `\Recent` })
		slices.Sort(flags)
		m.flags = strings.Join(flags, " ")
	}
	return m, true
}

// fetch reads a message and checks it. The id is empty if the message no longer
// exists.
func (a *actor) fetch(uid string) (id string, err error) {
	untagged, _, err := a.do("UID FETCH %s (UID FLAGS BODY.PEEK[])", uid)
	if err != nil {
		return "", err
	}
	for _, line := range untagged {
		if m, ok := parseFetched(line); ok {
			return a.ledger.check(a.folder, a.validity, m.uid, []byte(m.text))
		}
	}
	return "", nil
}

// expunge removes a message permanently.
func (a *actor) expunge() error {
	uid := a.pick()
	id, err := a.fetch(uid)
	if err != nil || id == "" {
		return err
	}
	a.ledger.change(id, func(m *entry) { m.expunged = true })
	if _, _, err := a.do("UID STORE %s +FLAGS (\\Deleted)", uid); err != nil {
		return err
	}
	_, _, err = a.do("UID EXPUNGE %s", uid)
	return err
}
