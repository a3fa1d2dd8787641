package chaos

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Ledger records the messages that were sent, acknowledged by the server, and
// received at the destination. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	messages map[string]*message // by Message-ID
	foreign  int
}

type message struct {
	groups       []string
	sum          string
	octets       int
	acknowledged bool
	arrived      int
	changed      bool
}

// Account holds the totals for a group of messages.
type Account struct {
	Acknowledged int
	Octets       int64 // octets in acknowledged messages
	Lost         int   // acknowledged but never arrived
	Doubled      int   // arrivals after the first
	Changed      int   // arrived with different text
	// Unacknowledged counts the messages that arrived although the client
	// received no positive reply, because the connection broke. A client would
	// send them again.
	Unacknowledged int
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{messages: map[string]*message{}} }

// Sent records a message before it is sent. The message counts for each of the
// groups.
func (l *Ledger) Sent(id string, text []byte, groups ...string) {
	sum, _, _ := Identify(bytes.NewReader(text))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages[id] = &message{groups: groups, sum: sum, octets: len(text)}
}

// Acknowledged records the server's positive reply.
func (l *Ledger) Acknowledged(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages[id].acknowledged = true
}

// Arrived records a copy of a message at its destination.
func (l *Ledger) Arrived(id, sum string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.messages[id]
	if !ok {
		l.foreign++
		return
	}
	m.arrived++
	m.changed = m.changed || m.sum != sum
}

// Lost returns the Message-IDs of the messages that were acknowledged and have not
// arrived.
func (l *Ledger) Lost() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []string
	for id, m := range l.messages {
		if m.acknowledged && m.arrived == 0 {
			lost = append(lost, fmt.Sprint(id, " ", m.groups))
		}
	}
	return lost
}

// Foreign returns the number of arrivals that were never sent, such as delivery
// reports.
func (l *Ledger) Foreign() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.foreign
}

// Audit returns the account of each group.
func (l *Ledger) Audit() map[string]Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	sums := map[string]Account{}
	for _, m := range l.messages {
		for _, g := range m.groups {
			a := sums[g]
			m.addTo(&a)
			sums[g] = a
		}
	}
	return sums
}

func (m *message) addTo(a *Account) {
	switch {
	case m.acknowledged:
		a.Acknowledged++
		a.Octets += int64(m.octets)
		if m.arrived == 0 {
			a.Lost++
		}
	case m.arrived > 0:
		a.Unacknowledged++
	}
	a.Doubled += max(0, m.arrived-1)
	if m.changed {
		a.Changed++
	}
}

// Identify returns a message's Message-ID and a checksum of its body that does
// not depend on the line endings.
func Identify(r io.Reader) (sum, id string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	body, hash := false, sha256.New()
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", "", err
		}
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case body:
			hash.Write(text)
			if len(line) > len(text) {
				hash.Write([]byte{'\n'})
			}
		case len(text) == 0:
			body = true
		case id == "" && len(text) > 11 && strings.EqualFold(string(text[:11]), "Message-ID:"):
			id = strings.TrimSpace(string(text[11:]))
		}
		if err != nil {
			return hex.EncodeToString(hash.Sum(nil)), id, nil
		}
	}
}
