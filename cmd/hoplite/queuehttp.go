package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"hoplite/internal/control"
	"hoplite/relay/queue"
)

// admin is the queue as its commands need it: the running server's, or the
// files of a stopped one.
type admin interface {
	List(ctx context.Context, f queue.Filter, limit int) ([]queue.Info, error)
	Totals(ctx context.Context, f queue.Filter) ([]queue.Total, error)
	Show(ctx context.Context, id string) (queue.Detail, error)
	Export(ctx context.Context, id string, w io.Writer) error
	Obey(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error)
}

// queueHandler answers the commands on control.sock, below /queue/.
func queueHandler(q *queue.Queue) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /queue/list", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			queue.Filter
			Limit int
		}
		if readJSON(w, r, &in) {
			control.Answer(w, q.List(in.Filter, in.Limit), nil)
		}
	})
	mux.HandleFunc("POST /queue/totals", func(w http.ResponseWriter, r *http.Request) {
		var f queue.Filter
		if readJSON(w, r, &f) {
			control.Answer(w, q.Totals(f), nil)
		}
	})
	mux.HandleFunc("GET /queue/show/{id}", func(w http.ResponseWriter, r *http.Request) {
		d, err := q.Show(r.PathValue("id"))
		control.Answer(w, d, err)
	})
	mux.HandleFunc("GET /queue/message/{id}", func(w http.ResponseWriter, r *http.Request) {
		m, closer, err := q.Message(r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer closer.Close()
		w.Header().Set("Content-Type", "message/rfc822")
		w.Header().Set("Content-Length", fmt.Sprint(m.Size()))
		m.WriteTo(w) // the client sees a short body
	})
	mux.HandleFunc("POST /queue/order", func(w http.ResponseWriter, r *http.Request) {
		var o queue.Order
		if readJSON(w, r, &o) {
			obey(w, r, q, o)
		}
	})
	return mux
}

// step is one line of the answer to an order.
type step struct {
	queue.Progress
	Error string `json:"error,omitempty"`
	End   bool   `json:"end,omitempty"`
}

// obey sends progress as lines of JSON, so that long work shows itself.
func obey(w http.ResponseWriter, r *http.Request, q *queue.Queue, o queue.Order) {
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	p, err := q.Obey(r.Context(), o, func(p queue.Progress) {
		out.Encode(step{Progress: p})
		flush.Flush()
	})
	last := step{Progress: p, End: true}
	if err != nil {
		last.Error = err.Error()
	}
	out.Encode(last)
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, "read request: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// running is the queue of a running server.
type running struct{ *control.Client }

func (c running) List(ctx context.Context, f queue.Filter, limit int) (all []queue.Info, err error) {
	in := struct {
		queue.Filter
		Limit int
	}{f, limit}
	return all, c.Do(ctx, http.MethodPost, "/queue/list", in, &all)
}

func (c running) Totals(ctx context.Context, f queue.Filter) (all []queue.Total, err error) {
	return all, c.Do(ctx, http.MethodPost, "/queue/totals", f, &all)
}

func (c running) Show(ctx context.Context, id string) (d queue.Detail, err error) {
	return d, c.Do(ctx, http.MethodGet, "/queue/show/"+url.PathEscape(id), nil, &d)
}

func (c running) Export(ctx context.Context, id string, w io.Writer) error {
	body, err := c.Open(ctx, http.MethodGet, "/queue/message/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

func (c running) Obey(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error) {
	body, err := c.Open(ctx, http.MethodPost, "/queue/order", o)
	if err != nil {
		return queue.Progress{}, err
	}
	defer body.Close()
	for in := json.NewDecoder(body); ; {
		var s step
		if err := in.Decode(&s); err != nil {
			return s.Progress, fmt.Errorf("the server's answer broke off: %w", err)
		}
		switch {
		case s.Error != "":
			return s.Progress, errors.New(s.Error)
		case s.End:
			return s.Progress, nil
		}
		say(s.Progress)
	}
}

// stopped is the queue of a server that does not run.
type stopped struct{ q *queue.Queue }

func (s stopped) List(_ context.Context, f queue.Filter, limit int) ([]queue.Info, error) {
	return s.q.List(f, limit), nil
}

func (s stopped) Totals(_ context.Context, f queue.Filter) ([]queue.Total, error) {
	return s.q.Totals(f), nil
}

func (s stopped) Show(_ context.Context, id string) (queue.Detail, error) { return s.q.Show(id) }

func (s stopped) Export(_ context.Context, id string, w io.Writer) error {
	var b bytes.Buffer
	if err := s.q.Export(id, &b); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

func (s stopped) Obey(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error) {
	return s.q.Obey(ctx, o, say)
}
