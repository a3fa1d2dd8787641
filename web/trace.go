package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"hoplite/internal/history"
	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
)

// paste serves the start page, with the form for a header.
func (s *Server) paste(w http.ResponseWriter, r *http.Request) {
	if !s.mayPaste(r) {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "paste.html", "Trace a message", s.cfg.MaxPaste)
}

// mayPaste reports whether the client may trace a header: always if the page is
// open, otherwise only from this machine or after logging in.
func (s *Server) mayPaste(r *http.Request) bool {
	if s.cfg.Open || isLocal(r) || s.env.Login == nil {
		return true
	}
	_, ok := s.account(r)
	return ok
}

// choices holds the options of the form.
type choices struct {
	Anonymous, Log bool
	As             string // "", json, svg, link
	Keep           time.Duration
}

// trace shows the trace of a pasted header.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	if !s.mayPaste(r) {
		s.fail(w, r, http.StatusForbidden, "Please log in first.")
		return
	}
	raw, err := s.pasted(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.fail(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("The input is larger than %s. The header alone is enough.", s.cfg.MaxPaste))
		return
	case err != nil:
		s.fail(w, r, http.StatusBadRequest, "The form could not be read: "+err.Error()+".")
		return
	}
	c := choices{Anonymous: r.FormValue("anonymous") != "", Log: r.FormValue("scale") == "log", As: r.FormValue("as")}
	if d, err := time.ParseDuration(r.FormValue("keep")); err == nil {
		c.Keep = d
	}
	s.answer(w, r, raw, c, time.Time{})
}

// pasted returns the text or the file from the form.
func (s *Server) pasted(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(s.cfg.MaxPaste) + 64<<10
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		limit += 2 * int64(s.cfg.MaxPaste) // the encoding can make a header up to three times as large
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	// ParseMultipartForm hides the errors of ParseForm.
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	// The whole body may be in memory, because the server cannot write
	// temporary files outside the data folder.
	if err := r.ParseMultipartForm(limit); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return nil, err
	}
	if r.MultipartForm != nil {
		defer r.MultipartForm.RemoveAll()
	}
	if f, h, err := r.FormFile("file"); err == nil {
		defer f.Close()
		if h.Size > 0 {
			return readFile(f, int64(s.cfg.MaxPaste))
		}
	}
	text := r.FormValue("text")
	if len(text) > int(s.cfg.MaxPaste) {
		return nil, &http.MaxBytesError{Limit: int64(s.cfg.MaxPaste)}
	}
	return []byte(text), nil
}

func readFile(f multipart.File, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return b, err
}

// inspector returns the inspector for a request. The report includes history
// only for a logged-in account, and only the records that the account may see.
func (s *Server) inspector(r *http.Request, c choices) *inspect.Inspector {
	i := &inspect.Inspector{}
	if s.env.Options != nil {
		i.Options = s.env.Options()
	}
	if acc, ok := s.account(r); ok && s.env.Find != nil && !c.Anonymous {
		i.Records, i.Viewer = s.records, story.Viewer{Account: acc.Name, Admin: acc.Admin}
	}
	return i
}

// records searches history for a message. An error is only logged, because the
// path of the message can be shown without history.
func (s *Server) records(ctx context.Context, k inspect.Key) ([]story.Entry, error) {
	q := history.Query{ID: k.ID, MessageID: k.MessageID, Limit: 20, Join: true}
	if k.EnvID != "" {
		q.Match = func(r *history.Record) bool { return (*story.Entry)(r).HasEnvID(k.EnvID) }
	}
	found, err := s.env.Find(ctx, q)
	if err != nil {
		s.env.Log.Error().Err(err).Msg("search history")
		return nil, nil
	}
	return entries(found), nil
}

// answer shows a trace in the requested format. Only a few traces are made at a
// time; sending the response is not part of that, because clients can be slow.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, raw []byte, c choices, until time.Time) {
	select {
	case s.working <- struct{}{}:
	case <-r.Context().Done():
		return
	case <-time.After(20 * time.Second):
		s.fail(w, r, http.StatusServiceUnavailable, "The server is busy. Try again in a minute.")
		return
	}
	page := s.tracePage(r, raw, c, until)
	if r.Context().Err() == nil { // otherwise the client left
		page.send(w)
	}
}

// tracePage returns the response that answer sends. Reading, rendering and making
// it anonymous must end within maxTrace.
func (s *Server) tracePage(r *http.Request, raw []byte, c choices, until time.Time) *response {
	defer func() { <-s.working }()
	ctx, cancel := context.WithTimeout(r.Context(), s.maxTrace)
	defer cancel()
	page := newResponse(ctx)
	rep, err := s.inspector(r, c).Inspect(ctx, raw)
	if err == nil {
		s.show(ctx, page, r, rep, c, until)
	}
	switch {
	case ctx.Err() != nil:
		page = newResponse(r.Context())
		s.fail(page, r, http.StatusServiceUnavailable, fmt.Sprintf("The trace took longer than %s and was stopped. Try again with the header alone.", trace.Words(s.maxTrace)))
	case err != nil:
		s.fail(page, r, http.StatusUnprocessableEntity, "The input cannot be read: "+err.Error()+".")
	}
	return page
}

// show writes a report in the requested format. It stops early if ctx ends.
func (s *Server) show(ctx context.Context, w http.ResponseWriter, r *http.Request, rep *inspect.Report, c choices, until time.Time) {
	t := rep.Trace
	text := func(s string) string { return s }
	if c.Anonymous {
		a := trace.NewAnonymiser(t)
		text = func(s string) string {
			if ctx.Err() != nil {
				return ""
			}
			return a.Text(s)
		}
	}
	switch c.As {
	case "json":
		if c.Anonymous {
			rep.Content = nil
		}
		b, err := json.MarshalIndent(rep.JSON(), "", "  ")
		if err != nil {
			s.fail(w, r, http.StatusInternalServerError, "The trace could not be encoded.")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", `attachment; filename="trace.json"`)
		io.WriteString(w, text(string(b)))
	case "svg":
		w.Header().Set("Content-Type", "image/svg+xml")
		w.Header().Set("Content-Disposition", `attachment; filename="trace.svg"`)
		io.WriteString(w, picture(t, text, c.Log))
	case "link":
		if !s.formed(r) {
			s.fail(w, r, http.StatusForbidden, "This form has expired. Go back, reload the page and try again.")
			return
		}
		head := []byte(text(string(rep.Head)))
		if ctx.Err() != nil {
			return
		}
		id, err := s.links.keep(head, c.Keep)
		if err != nil {
			s.fail(w, r, http.StatusInsufficientStorage, "Cannot make a permalink: "+err.Error()+".")
			return
		}
		http.Redirect(w, r, "/link/"+id, http.StatusSeeOther)
	default:
		v := s.view(rep, text, c)
		v.Until = until
		s.render(w, r, http.StatusOK, "trace.html", "Trace of a message", v)
	}
}

// link shows the header under a permalink.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
	if !s.mayPaste(r) {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	head, until, ok := s.links.find(r.PathValue("id"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, "This link does not exist or has expired.")
		return
	}
	s.answer(w, r, head, choices{Log: r.FormValue("scale") == "log"}, until)
}
