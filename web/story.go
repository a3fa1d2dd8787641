package web

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/mail/story"
)

// storyPage is the data of a page with the results of a search.
type storyPage struct {
	ID, From, To, Since string
	Asked               bool
	Stories             []story.Story
}

// story searches history for a message. story.Tell determines what an account
// may see.
func (s *Server) story(w http.ResponseWriter, r *http.Request) {
	acc, ok := s.account(r)
	if !ok || s.env.Find == nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	p := storyPage{ID: strings.TrimSpace(r.FormValue("id")), From: strings.TrimSpace(r.FormValue("from")), To: strings.TrimSpace(r.FormValue("to")), Since: r.FormValue("since")}
	p.Asked = p.ID != "" || p.From != "" || p.To != ""
	if p.Asked {
		records, err := s.env.Find(r.Context(), p.query(time.Now()))
		if err != nil {
			s.env.Log.Error().Err(err).Msg("search history")
			s.fail(w, r, http.StatusInternalServerError, "History cannot be read at the moment.")
			return
		}
		p.Stories = visibleStories(acc, records)
	}
	s.render(w, r, http.StatusOK, "story.html", "What happened to a message", p)
}

// query converts the form into a history query.
func (p *storyPage) query(now time.Time) history.Query {
	q := history.Query{From: p.From, To: p.To, Limit: 100, Join: true}
	if d, err := time.ParseDuration(p.Since); err == nil {
		q.Since = now.Add(-d)
	}
	if strings.Contains(p.ID, "@") {
		q.MessageID = p.ID
	} else {
		q.ID = p.ID
	}
	return q
}

// visibleStories returns the parts of the records that an account may see.
func visibleStories(acc Account, records []history.Record) []story.Story {
	return story.Tell(entries(records), story.Viewer{Account: acc.Name, Admin: acc.Admin})
}

// entries converts records to the form that mail/story reads.
func entries(records []history.Record) []story.Entry {
	list := make([]story.Entry, len(records))
	for i := range records {
		list[i] = story.Entry(records[i])
	}
	return list
}

// chainPage is the data of the dry run's page.
type chainPage struct {
	Question
	Lines []string
	Asked bool
}

// chain shows the effect of the filter chain on a message.
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
			s.fail(w, r, http.StatusForbidden, "This form has expired. Go back, reload the page and try again.")
			return
		}
		field := func(name string) string { return clip(strings.TrimSpace(r.PostFormValue(name)), 320) }
		p = chainPage{Question: Question{IP: field("ip"), Helo: field("helo"), From: field("from"), To: field("to")}, Asked: true}
		if _, err := netip.ParseAddr(p.IP); err != nil {
			s.fail(w, r, http.StatusUnprocessableEntity, "The client's address must be an IP address.")
			return
		}
		if !acc.Admin && mail.Key(p.To) != mail.Key(acc.Name) {
			s.fail(w, r, http.StatusForbidden, "You may only test mail to yourself.")
			return
		}
		lines, err := s.env.Explain(r.Context(), p.Question)
		if err != nil {
			s.fail(w, r, http.StatusUnprocessableEntity, "The dry run failed: "+safe.Line(err.Error())+".")
			return
		}
		for _, l := range lines {
			p.Lines = append(p.Lines, safe.Line(l))
		}
	}
	s.render(w, r, http.StatusOK, "chain.html", "Dry run", p)
}
