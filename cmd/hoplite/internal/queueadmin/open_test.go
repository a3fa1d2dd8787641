package queueadmin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/sitetest"
	"hoplite/internal/control"
	"hoplite/mail"
	"hoplite/relay/queue"
)

// fill creates a queue with one message and returns its configuration and id.
func fill(t *testing.T) (cfg *config.Config, id string) {
	t.Helper()
	cfg, _, err := config.Read(sitetest.Write(t, "hostname = \"mail.example.org\"\n", nil))
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(cfg, zerolog.Nop(), Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	tx := mail.NewTransaction(mail.Client{Listener: "in"}, "ann@example.org")
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := q.Hop("out").Open(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Rcpt(t.Context(), mail.Rcpt{To: "bob@example.net", Orig: "bob@example.net"}); err != nil {
		t.Fatal(err)
	}
	if out := h.Send(t.Context(), m); !out[0].Reply.Positive() {
		t.Fatal(&out[0].Reply)
	}
	return cfg, tx.ID
}

// serve answers on the control socket as a running server does.
func serve(t *testing.T, cfg *config.Config) {
	t.Helper()
	lock, err := control.Lock(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(cfg, zerolog.Nop(), Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, cfg.Data, Handler(q)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		q.Close()
		lock.Close()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(control.SocketPath(cfg.Data)); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Every request has the same result with a running server and with the files of
// a stopped one. Without a queue, it has the result of an empty one.
func TestAdmin(t *testing.T) {
	for _, mode := range []string{"running", "stopped", "no queue"} {
		t.Run(mode, func(t *testing.T) {
			cfg, id := fill(t)
			want := 1
			switch mode {
			case "running":
				serve(t, cfg)
			case "no queue":
				want = 0
				if err := os.RemoveAll(cfg.Under("queue")); err != nil {
					t.Fatal(err)
				}
			}
			a, closer, err := Connect(t.Context(), cfg, true, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			if list, err := a.List(t.Context(), queue.Filter{}, 0); err != nil || len(list) != want {
				t.Errorf("list: %+v, %v", list, err)
			}
			if list, err := a.List(t.Context(), queue.Filter{To: "nowhere.example"}, 0); err != nil || len(list) != 0 {
				t.Errorf("list of another domain: %+v, %v", list, err)
			}
			if totals, err := a.Totals(t.Context(), queue.Filter{}); err != nil || len(totals) != want {
				t.Errorf("totals: %+v, %v", totals, err)
			}
			d, err := a.Show(t.Context(), id)
			if found := err == nil; found != (want == 1) || found && d.ID != id {
				t.Errorf("show: %+v, %v", d, err)
			}
			var text bytes.Buffer
			if err := a.Export(t.Context(), id, &text); (err == nil) != (want == 1) || want == 1 && !strings.HasSuffix(text.String(), "body\r\n") {
				t.Errorf("export: %q, %v", &text, err)
			}
			for _, unknown := range []func() error{
				func() error { _, err := a.Show(t.Context(), "nothing"); return err },
				func() error { return a.Export(t.Context(), "nothing", &text) },
			} {
				if err := unknown(); err == nil || !strings.Contains(err.Error(), queue.ErrNotQueued.Error()) {
					t.Errorf("an unknown id: %v", err)
				}
			}
			steps := 0
			p, err := a.Execute(t.Context(), queue.Order{Do: "hold", Text: "later"}, func(queue.Progress) { steps++ })
			if err != nil || p.Done != want || p.Of != want {
				t.Errorf("hold: %+v after %d steps, %v", p, steps, err)
			}
			if mode != "no queue" {
				if _, err := a.Execute(t.Context(), queue.Order{Do: "juggle"}, func(queue.Progress) {}); err == nil {
					t.Error("an unknown order is carried out")
				}
			}
			if list, err := a.List(t.Context(), queue.Filter{State: "held"}, 0); err != nil || len(list) != want {
				t.Errorf("held: %+v, %v", list, err)
			}
		})
	}
}

// Two processes never open the same queue. A reader does not wait for the lock
// or create it.
func TestConnectLocks(t *testing.T) {
	cfg, _ := fill(t)
	lock := filepath.Join(cfg.Data, "lock")
	_, closer, err := Connect(t.Context(), cfg, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	closer.Close()
	if _, err := os.Stat(lock); err == nil {
		t.Error("a reader created the lock")
	}
	_, closer, err = Connect(t.Context(), cfg, true, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Connect(t.Context(), cfg, false, zerolog.Nop()); !errors.Is(err, control.ErrLocked) {
		t.Errorf("a reader beside another command: %v", err)
	}
	if _, _, err := Connect(t.Context(), cfg, true, zerolog.Nop()); !errors.Is(err, control.ErrLocked) {
		t.Errorf("two commands: %v", err)
	}
	closer.Close()
	if _, closer, err = Connect(t.Context(), cfg, true, zerolog.Nop()); err != nil {
		t.Errorf("after the command: %v", err)
	} else {
		closer.Close()
	}
}

// A reader repairs nothing that a crash left behind. The next command that
// changes the queue does.
func TestReaderChangesNothing(t *testing.T) {
	cfg, id := fill(t)
	dir := cfg.Under("queue")
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	const head = 52 // of a segment; the first batch follows
	files := map[string]string{
		segments[0]: string(text) + string(text[head:len(text)-3]), // an interrupted write
		filepath.Join(dir, "log", "000000000099.log"): "", // a segment without a header
		filepath.Join(dir, "log", "spare.new"):        "half",
		filepath.Join(dir, "body", "0f", "orphan"):    "a message that was not acknowledged",
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed := func() (list []string) {
		for path, text := range files {
			if now, err := os.ReadFile(path); err != nil || string(now) != text {
				list = append(list, filepath.Base(path))
			}
		}
		entries, err := os.ReadDir(filepath.Join(dir, "log"))
		if err != nil || len(entries) != len(segments)+2 {
			list = append(list, "log/")
		}
		return list
	}
	a, closer, err := Connect(t.Context(), cfg, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if list, err := a.List(t.Context(), queue.Filter{}, 0); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("list: %+v, %v", list, err)
	}
	var body bytes.Buffer
	if err := a.Export(t.Context(), id, &body); err != nil || !strings.HasSuffix(body.String(), "body\r\n") {
		t.Errorf("export: %q, %v", &body, err)
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if list := changed(); list != nil {
		t.Errorf("a reader changed %v", list)
	}
	a, closer, err = Connect(t.Context(), cfg, true, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if list, err := a.List(t.Context(), queue.Filter{}, 0); err != nil || len(list) != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if list := changed(); len(list) < len(files) {
		t.Errorf("a command that changes the queue repaired only %v", list)
	}
}

// Reading a queue whose folders do not exist yet creates none.
func TestReadFreshQueue(t *testing.T) {
	cfg, _, err := config.Read(sitetest.Write(t, "hostname = \"mail.example.org\"\n", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.Under("queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, closer, err := Connect(t.Context(), cfg, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if list, err := a.List(t.Context(), queue.Filter{}, 0); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if entries, err := os.ReadDir(cfg.Under("queue")); err != nil || len(entries) != 0 {
		t.Errorf("created: %v, %v", entries, err)
	}
}
