package queueadmin

import (
	"encoding/json"
	"fmt"
	"net/http"

	"hoplite/internal/control"
	"hoplite/relay/queue"
)

// Handler serves the requests below /queue/ on control.sock.
func Handler(q *queue.Queue) http.Handler {
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
		m.WriteTo(w) // on error the client receives a truncated body
	})
	mux.HandleFunc("POST /queue/order", func(w http.ResponseWriter, r *http.Request) {
		var o queue.Order
		if readJSON(w, r, &o) {
			execute(w, r, q, o)
		}
	})
	return mux
}

// step is one line of the response to an order.
type step struct {
	queue.Progress
	Error string `json:"error,omitempty"`
	End   bool   `json:"end,omitempty"`
}

// execute carries out an order and reports its progress as lines of JSON.
func execute(w http.ResponseWriter, r *http.Request, q *queue.Queue, o queue.Order) {
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	p, err := q.Execute(r.Context(), o, func(p queue.Progress) {
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
