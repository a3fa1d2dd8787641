package control

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	first.Close()
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	again.Close()
}

func TestServe(t *testing.T) {
	// The path of a socket is limited to about 100 octets; that of t.TempDir
	// may be longer.
	dir, err := os.MkdirTemp("", "hc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	client := NewClient(dir)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := client.Do(ctx, "GET", "/sum", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a server: %v", err)
	}
	os.WriteFile(SocketPath(dir), nil, 0o600) // a socket file left over from a crash
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, _ *http.Request) { Answer(w, 42, nil) })
	mux.HandleFunc("POST /bad", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, nil, errors.New("no message with that id"))
	})
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, dir, mux) }()

	var sum int
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := client.Do(ctx, "POST", "/sum", map[string]int{"a": 1}, &sum)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if sum != 42 {
		t.Errorf("answer %d", sum)
	}
	if err := client.Do(ctx, "POST", "/bad", nil, nil); err == nil || !strings.Contains(err.Error(), "no message with that id") {
		t.Errorf("error %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

// A process that only reads respects a lock, but neither creates nor changes
// one.
func TestLockToRead(t *testing.T) {
	dir := t.TempDir()
	free, err := LockToRead(dir)
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("created %v", names)
	}
	writer, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockToRead(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a writer: %v", err)
	}
	writer.Close()
	reader, err := LockToRead(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a writer beside a reader: %v", err)
	}
	reader.Close()
}
