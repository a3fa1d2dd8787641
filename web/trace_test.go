package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail/trace"
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
