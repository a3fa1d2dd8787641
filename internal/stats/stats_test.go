package stats

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestServe(t *testing.T) {
	r := New()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "hoplite_test_total", Help: "A test."})
	r.MustRegister(c)
	c.Add(3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, r) }()
	for path, want := range map[string]int{"/metrics": 200, "/": 404, "/debug/pprof/": 404} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d", path, resp.StatusCode)
		}
		if want == 200 && (!strings.Contains(string(text), "hoplite_test_total 3") || !strings.Contains(string(text), "go_goroutines")) {
			t.Errorf("%s says %.300s", path, text)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
