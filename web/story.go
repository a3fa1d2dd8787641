package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/trace"
)

// storyPage is what one search shows.
type storyPage struct {
	ID, From, To, Since string
	Asked               bool
	Stories             []story
}

// story is what this server did with one message.
type story struct {
	ID, At, Verdict, Reply string
	Good                   bool
	Facts                  [][2]string
	Events                 []event
	Outcomes               []outcome
	Attempt                bool
}

type event struct{ After, Text string }

type outcome struct {
	Text  string
	Good  bool
	Means []string
}

// story looks a message up. Admins see all mail, others their own: what they
// sent after logging in, and of what was sent to them only their own part.
func (s *Server) story(w http.ResponseWriter, r *http.Request) {
	acc, ok := s.account(r)
	if !ok || s.env.Find == nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	p := storyPage{ID: strings.TrimSpace(r.FormValue("id")), From: strings.TrimSpace(r.FormValue("from")), To: strings.TrimSpace(r.FormValue("to")), Since: r.FormValue("since")}
	p.Asked = p.ID != "" || p.From != "" || p.To != ""
	if p.Asked {
		records, err := s.search(r, p)
		if err != nil {
			s.env.Log.Error().Err(err).Msg("look in history")
			s.fail(w, r, http.StatusInternalServerError, "History cannot be read at this moment.")
			return
		}
		p.Stories = stories(acc, records)
	}
	s.render(w, r, http.StatusOK, "story.html", "What became of a message", p)
}

func (s *Server) search(r *http.Request, p storyPage) ([]history.Record, error) {
	q := history.Query{From: p.From, To: p.To, Limit: 100}
	if d, err := time.ParseDuration(p.Since); err == nil {
		q.Since = time.Now().Add(-d)
	}
	switch {
	case p.ID != "" && strings.Contains(p.ID, "@"):
		q.MessageID = p.ID
	case p.ID != "":
		q.ID = p.ID
	}
	found, err := s.env.Find(r.Context(), q)
	if err != nil || q.ID != "" {
		return found, err
	}
	// Join each transaction with the queue's attempts.
	var all []history.Record
	seen := map[string]bool{}
	for i := len(found) - 1; i >= 0 && len(seen) < 25; i-- {
		if id := found[i].ID; !seen[id] {
			seen[id] = true
			more, err := s.env.Find(r.Context(), history.Query{ID: id, Limit: 50})
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

// stories tells what an account may know of the records.
func stories(acc Account, records []history.Record) []story {
	senders := map[string]bool{} // ids that the account sent itself
	for _, rec := range records {
		var st mail.Story
		if json.Unmarshal(rec.Data, &st) == nil && st.Transaction != nil && st.Client.User != "" && strings.EqualFold(st.Client.User, acc.Name) {
			senders[rec.ID] = true
		}
	}
	var list []story
	for _, rec := range records {
		all := acc.Admin || senders[rec.ID]
		may := func(a mail.Address) bool { return all || strings.EqualFold(string(a), acc.Name) }
		mine := all
		for _, to := range rec.To {
			mine = mine || strings.EqualFold(to, acc.Name)
		}
		if mine {
			list = append(list, tell(rec, may, all))
		}
	}
	return list
}

// tell puts one record into words. Who is only one of the recipients hears
// nothing of the others.
func tell(rec history.Record, may func(mail.Address) bool, all bool) story {
	o := story{ID: trace.Clean(rec.ID), At: rec.At.UTC().Format("2 Jan 2006 15:04:05 MST"), Verdict: rec.Kind}
	if rec.Kind == "attempt" {
		var a struct {
			Upstream string
			Outcomes []mail.Outcome
		}
		json.Unmarshal(rec.Data, &a)
		o.Attempt, o.Verdict, o.Good = true, "attempt at "+trace.Clean(a.Upstream), true
		o.addOutcomes(a.Outcomes, may)
		return o
	}
	var st mail.Story
	if json.Unmarshal(rec.Data, &st) != nil || st.Transaction == nil {
		return o
	}
	o.Verdict, o.Good = trace.Clean(st.Verdict), st.Verdict == "accepted"
	if all || len(st.Envelope.Rcpts) == 1 {
		o.Reply = trace.Clean(st.Reply.String())
	}
	o.addFacts(&st, may)
	if st.Trail == nil {
		return o
	}
	for i := range st.Trail.Events {
		if e := &st.Trail.Events[i]; e.Rcpt == "" || may(e.Rcpt) {
			after := "+" + trace.Words(max(0, e.At.Sub(st.At)).Round(time.Millisecond))
			o.Events = append(o.Events, event{after, trace.Clean(eventWords(e, all))})
		}
	}
	for _, a := range st.Trail.Auth {
		o.Events = append(o.Events, event{"", trace.Clean(a.Method + " " + a.Value + " " + a.Reason)})
	}
	o.addOutcomes(st.Trail.Outcomes, may)
	return o
}

// addFacts says who sent what to whom, and how.
func (o *story) addFacts(st *mail.Story, may func(mail.Address) bool) {
	fact := func(k, v string) {
		if v != "" {
			o.Facts = append(o.Facts, [2]string{k, trace.Clean(v)})
		}
	}
	fact("from", "<"+string(st.Envelope.From)+">")
	for _, rc := range st.Envelope.Rcpts {
		if !may(rc.To) && !may(rc.Orig) {
			continue
		}
		to := "<" + string(rc.To) + ">"
		if rc.Orig != "" && rc.Orig != rc.To {
			to += ", was <" + string(rc.Orig) + ">"
		}
		fact("to", to)
	}
	client := "a socket file"
	if st.Client.Addr.IsValid() {
		client = st.Client.Addr.Addr().String()
	}
	if st.Client.Name != "" {
		client = st.Client.Name + " [" + client + "]"
	}
	fact("client", client+" "+st.Client.Helo)
	fact("login", st.Client.User)
	fact("TLS", tlsWords(st.Client.TLS))
	fact("message", st.Header.MessageID)
	if st.Header.Size > 0 {
		fact("size", fmt.Sprintf("%d octets, %d hops before us", st.Header.Size, st.Header.Hops))
	}
	fact("took", trace.Words(st.Took))
}

func tlsWords(t *mail.TLS) string {
	if t == nil {
		return ""
	}
	words := t.Version + " " + t.Cipher
	if t.Name != "" {
		words += ", for the name " + t.Name
	}
	if t.Verified {
		words += ", certificate verified"
	}
	if t.Legacy {
		words += ", by the legacy profile only"
	}
	return words
}

// eventWords is one line of the trail. Evidence is for admins.
func eventWords(e *mail.Event, all bool) string {
	text := fmt.Sprintf("%s, %s: %s", e.Stage, e.By, e.Verdict)
	if e.Rcpt != "" {
		text += " for <" + string(e.Rcpt) + ">"
	}
	if e.Reply != nil {
		text += ", " + e.Reply.String()
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	if all {
		for _, f := range e.Facts {
			text += " [" + f.Key + " " + f.Value + "]"
		}
	}
	return text
}

func (o *story) addOutcomes(list []mail.Outcome, may func(mail.Address) bool) {
	for _, x := range list {
		if !may(x.Rcpt) {
			continue
		}
		text := fmt.Sprintf("<%s> → %s", x.Rcpt, x.Hop)
		if x.Host != "" {
			text += " at " + x.Host + " " + x.Addr
		}
		text += ": " + x.Reply.String()
		if x.RemoteID != "" {
			text += ", there called " + x.RemoteID
		}
		if x.TLS != "" {
			text += ", " + x.TLS
		}
		out := outcome{Text: trace.Clean(text + ", took " + trace.Words(x.Took)), Good: x.Reply.Positive()}
		if !out.Good {
			o.Good = false
			for _, m := range mail.LookupCode(x.Reply.String()) {
				out.Means = append(out.Means, m.Code+" "+m.Title+". "+m.Next)
			}
		}
		o.Outcomes = append(o.Outcomes, out)
	}
}

// chainPage is the dry run.
type chainPage struct {
	Question
	Lines []string
	Asked bool
}

// chain answers "what would my chain say?".
func (s *Server) chain(w http.ResponseWriter, r *http.Request) {
	acc, ok := s.account(r)
	if !ok || s.env.Explain == nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	p := chainPage{Question: Question{To: acc.Name}}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if !s.formed(r) {
			s.fail(w, r, http.StatusForbidden, "The form is too old. Go back, reload the page and try again.")
			return
		}
		field := func(name string) string { return clip(strings.TrimSpace(r.PostFormValue(name)), 320) }
		p = chainPage{Question: Question{IP: field("ip"), Helo: field("helo"), From: field("from"), To: field("to")}, Asked: true}
		if _, err := netip.ParseAddr(p.IP); err != nil {
			s.fail(w, r, http.StatusUnprocessableEntity, "The client's address must be an IP address.")
			return
		}
		if !acc.Admin && !strings.EqualFold(p.To, acc.Name) {
			s.fail(w, r, http.StatusForbidden, "You may ask for mail to yourself only.")
			return
		}
		lines, err := s.env.Explain(r.Context(), p.Question)
		if err != nil {
			s.fail(w, r, http.StatusUnprocessableEntity, "The chain could not be asked: "+trace.Clean(err.Error())+".")
			return
		}
		for _, l := range lines {
			p.Lines = append(p.Lines, trace.Clean(l))
		}
	}
	s.render(w, r, http.StatusOK, "chain.html", "What would the chain say?", p)
}
