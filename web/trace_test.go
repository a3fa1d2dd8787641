package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
)

// TestTraceStops checks that a trace stops when its client leaves, and when it takes
// too long.
func TestTraceStops(t *testing.T) {
	request := func(ctx context.Context, limit time.Duration, begun func()) *httptest.ResponseRecorder {
		env := Env{Hostname: "localhost", Log: zerolog.Nop(), Options: func() trace.Options { begun(); return trace.Options{} }}
		s, err := New(Config{MaxPaste: 1 << 20, Open: true, SessionTime: time.Hour}, env)
		if err != nil {
			t.Fatal(err)
		}
		s.maxTrace = limit
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/trace", strings.NewReader(url.Values{"text": {synthetic(t, "clean-4hops")}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := request(t.Context(), time.Hour, func() {}); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "4 hops") {
		t.Errorf("in time: %d %s", w.Code, w.Body)
	}
	if w := request(t.Context(), -1, func() {}); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "and was stopped") {
		t.Errorf("too long: %d %s", w.Code, w.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if w := request(ctx, time.Hour, cancel); w.Body.Len() > 0 {
		t.Errorf("the client left: %d %s", w.Code, w.Body)
	}
}

// The time limit applies to rendering and making a trace anonymous, in every
// format.
func TestRenderingStops(t *testing.T) {
	s, err := New(Config{MaxPaste: 1 << 20, Open: true, SessionTime: time.Hour, KeepLinks: time.Hour},
		Env{Hostname: "localhost", Log: zerolog.Nop(), Links: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := (&inspect.Inspector{}).Inspect(t.Context(), []byte(synthetic(t, "clean-4hops")))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "http://localhost/trace", nil)
	for _, as := range []string{"", "json", "svg", "link"} {
		for _, anonymous := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			page := newResponse(ctx)
			s.show(ctx, page, r, rep, choices{As: as, Anonymous: anonymous}, time.Time{})
			if whole := page.body.Len(); whole == 0 {
				t.Errorf("%q: nothing in time", as)
			}
			cancel()
			page = newResponse(ctx)
			s.show(ctx, page, r, rep, choices{As: as, Anonymous: anonymous}, time.Time{})
			if page.body.Len() > 0 {
				t.Errorf("%q: %d octets after the end", as, page.body.Len())
			}
		}
	}
}

// stuckWriter is a client that does not read the response.
type stuckWriter struct {
	http.ResponseWriter
	stuck, release chan struct{}
}

func (w stuckWriter) Write(b []byte) (int, error) {
	w.stuck <- struct{}{}
	<-w.release
	return len(b), nil
}

// Clients that do not read their pages do not keep others from tracing.
func TestSlowClients(t *testing.T) {
	s, err := New(Config{MaxPaste: 1 << 20, Open: true, SessionTime: time.Hour}, Env{Hostname: "localhost", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	request := func(w http.ResponseWriter) {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/trace", strings.NewReader(url.Values{"text": {synthetic(t, "clean-4hops")}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		s.Handler().ServeHTTP(w, r)
	}
	stuck, release := make(chan struct{}), make(chan struct{})
	var clients sync.WaitGroup
	for range 2 * maxWorking {
		clients.Go(func() { request(stuckWriter{httptest.NewRecorder(), stuck, release}) })
	}
	for range 2 * maxWorking {
		select {
		case <-stuck:
		case <-time.After(15 * time.Second):
			t.Fatal("a slow client is waiting for another one")
		}
	}
	w := httptest.NewRecorder()
	request(w)
	if !strings.Contains(w.Body.String(), "4 hops") {
		t.Errorf("beside slow clients: %d %s", w.Code, w.Body)
	}
	close(release)
	clients.Wait()
}
