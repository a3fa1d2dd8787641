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
