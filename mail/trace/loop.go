package trace

import (
	"sort"
	"strings"

	"hoplite/mail/received"
)

// The number of hops that causes a finding, and the limit in RFC 5321, 6.3.
const (
	warnHops  = 50
	limitHops = 100
	ownVisits = 5
)

// Loop is a part of the path that the message travelled more than once.
type Loop struct {
	Hosts []string `json:"hosts"`
	For   string   `json:"for,omitempty"`
	Times int      `json:"times"`
	Why   string   `json:"why"`
}

// loops finds hosts that received the message more than once for the same
// recipient.
func (t *Trace) loops() {
	type visit struct{ by, rcpt string }
	visits := map[visit][]int{}
	ids := map[string]int{}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.By.Name == "" {
			continue
		}
		by := strings.ToLower(strings.TrimSuffix(s.By.Name, "."))
		// A host that passes a message to itself does not form a loop.
		if i > 0 && sameHost(t.Steps[i-1].By.Name, by) || s.Class == Loopback {
			continue
		}
		v := visit{by, strings.ToLower(s.For)}
		visits[v] = append(visits[v], s.Index)
		if s.ID != "" && !s.IDIsVersion && len(s.ID) > 4 {
			ids[by+" "+s.ID]++
		}
	}
	byRcpt := map[string][]string{}
	times := map[string]int{}
	for v, hops := range visits {
		if v.rcpt != "" && len(hops) >= 3 || len(hops) > ownVisits {
			byRcpt[v.rcpt] = append(byRcpt[v.rcpt], v.by)
			times[v.rcpt] = max(times[v.rcpt], len(hops))
		}
	}
	for rcpt, hosts := range byRcpt {
		sort.Strings(hosts)
		t.Loops = append(t.Loops, Loop{Hosts: hosts, For: rcpt, Times: times[rcpt], Why: "the same hosts received it repeatedly for the same recipient"})
	}
	for key, n := range ids {
		by, id, _ := strings.Cut(key, " ")
		if n >= 2 {
			t.Loops = append(t.Loops, Loop{Hosts: []string{by}, Times: n, Why: "the id " + id + " occurs twice"})
		}
	}
	sort.Slice(t.Loops, func(i, j int) bool { return strings.Join(t.Loops[i].Hosts, " ") < strings.Join(t.Loops[j].Hosts, " ") })
}

// kinds determines the kind of each step.
func (t *Trace) kinds() {
	for i := range t.Steps {
		s := &t.Steps[i]
		s.Kind = Transport
		var older *Step
		if i > 0 {
			older = &t.Steps[i-1]
		}
		switch {
		case s.Proto.Fetch || s.MTA.Name == "fetchmail" || s.MTA.Name == "getmail" || s.MTA.Name == "mpop":
			s.Kind = Fetch
		case s.MTA.Name == "amavis" || s.MTA.Name == "qmail-scanner" || older != nil && s.Class == Loopback && older.MTA.Name == "amavis":
			s.Kind = Filtering
		case s.Proto.Local, s.Class == Loopback, s.MTA.Name == "qmail" && s.From.Name == "", older != nil && sameHost(older.By.Name, s.By.Name):
			s.Kind = Handoff
		case older != nil && t.header.listID != "" && listHost(t.header.listID, &older.Line) && organisation(older.By.Name) != organisation(s.By.Name):
			s.Kind = List
		case s.HasDelay && s.Delay >= 10*60*1e9:
			s.Kind = QueueWait
		}
	}
}

func listHost(listID string, h *received.Line) bool {
	d := organisation(h.By.Name)
	return d != "" && strings.Contains(strings.ToLower(listID), d)
}
