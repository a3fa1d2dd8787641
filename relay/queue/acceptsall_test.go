package queue

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/mail"
)

// An upstream that accepts every recipient refuses mail for unknown ones only
// after the client has disconnected. Reports would then go to people whose
// addresses were forged.
func TestUpstreamAcceptsAll(t *testing.T) {
	client := func(c mail.Client, from mail.Address) func() *mail.Transaction {
		return func() *mail.Transaction { return mail.NewTransaction(c, from) }
	}
	remote := client(mail.Client{}, "ann@example.org")
	refusal := &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "old.example.net"}
	for _, tc := range []struct {
		name   string
		tx     func() *mail.Transaction
		domain string // accepts every recipient
		want   string // recipient of the report
		notice bool
	}{
		{"a remote client", remote, "example.net", "post@example.org", true},
		{"the upstream checks recipients", remote, "other.example", "ann@example.org", false},
		{"a client that may relay", client(mail.Client{MayRelay: true}, "ann@example.org"), "example.net", "ann@example.org", false},
		{"a report", client(mail.Client{}, ""), "example.net", "post@example.org", false},
	} {
		for _, mode := range []string{"queue", "auto", "restarted", "exported"} {
			bubble(t, tc.name+", "+mode, func(t *testing.T) {
				dir := t.TempDir()
				inject := func(o *Options) { o.Inject = dir }
				h := newTestQueue(t, inject)
				later := &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
				h.out.send = func(mail.Rcpt) *mail.Reply { return later }
				add := func() {
					h.Add(Upstream{Name: "out", Hop: h.out, AcceptsAll: func(domain string) bool { return domain == tc.domain }})
				}
				add()
				var id string
				if mode == "auto" {
					id = sendDirect(t, h.Direct("out", h.out, true), tc.tx(), to("nobody@example.net")...)
				} else {
					id = h.acceptTx(t, "out", tc.tx(), to("nobody@example.net")...)
				}
				pass(time.Second)
				h.out.change(func() { h.out.send = func(mail.Rcpt) *mail.Reply { return refusal } })
				switch mode {
				case "restarted":
					h.stop()
					h.start(t, inject)
					add()
				case "exported":
					exportTo(t, h, id, filepath.Join(dir, "m"))
				}
				pass(time.Hour)
				notices, reports := splitNotices(h.back.deliveries())
				if len(reports) != 1 || string(reports[0].to) != tc.want || !strings.Contains(reports[0].text, "no such user") {
					t.Errorf("reports %+v, want one to %s", reports, tc.want)
				}
				if len(notices) == 1 != tc.notice || len(notices) > 1 {
					t.Errorf("%d notices about the upstream", len(notices))
				}
				h.empty(t)
			})
		}
	}
	bubble(t, "one notice a day", func(t *testing.T) {
		h := newTestQueue(t)
		h.Add(Upstream{Name: "out", Hop: h.out, AcceptsAll: func(string) bool { return true }})
		for range 50 {
			h.acceptTx(t, "out", remote(), to("a@example.net")...)
			pass(time.Hour)
		}
		if notices, _ := splitNotices(h.back.deliveries()); len(notices) != 3 {
			t.Errorf("%d notices in 50 hours", len(notices))
		}
	})
	for _, tc := range []struct {
		name    string
		checked bool
		want    string
	}{
		{"queued without a check, as another address of the alias has it", false, "post@example.org"},
		{"queued after it was accepted at RCPT", true, "ann@example.org"},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			h := newTestQueue(t)
			h.out.send = func(mail.Rcpt) *mail.Reply { return refusal }
			h.Add(Upstream{Name: "out", Hop: h.out, Check: func(context.Context, *mail.Transaction, mail.Rcpt) error { return errors.New("down") }})
			sendDirect(t, h.Later("out", tc.checked), remote(), to("nobody@example.net")...)
			pass(time.Hour)
			if notices, reports := splitNotices(h.back.deliveries()); len(notices) != 0 || len(reports) != 1 || string(reports[0].to) != tc.want {
				t.Errorf("%d notices, reports %+v, want one to %s", len(notices), reports, tc.want)
			}
			h.empty(t)
		})
	}
	bubble(t, "an upstream that is never asked", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(mail.Rcpt) *mail.Reply { return refusal }
		h.Add(Upstream{Name: "out", Hop: h.out, Unchecked: true})
		proved := remote()
		proved.Trail.Auth = []mail.AuthResult{{Method: "spf", Value: "pass"}}
		h.acceptTx(t, "out", remote(), to("nobody@example.net")...)
		h.acceptTx(t, "out", proved, to("nobody@example.net")...)
		pass(time.Hour)
		if got := slices.Sorted(slices.Values(h.back.to())); !slices.Equal(got, []string{"ann@example.org", "post@example.org"}) {
			t.Errorf("reports to %q", got)
		}
	})
	bubble(t, "refused in-line after others got the message", func(t *testing.T) {
		h := newTestQueue(t)
		h.Add(Upstream{Name: "out", Hop: h.out, AcceptsAll: func(string) bool { return true }})
		tx := remote()
		tx.Envelope.Rcpts = to("a@example.net", "b@example.net")
		m, _ := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
		if _, err := h.Bounce(t.Context(), tx, m, []mail.Outcome{{Rcpt: "b@example.net", Hop: "out", Reply: *refusal}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := h.back.to(); !slices.Equal(got, []string{"post@example.org"}) {
			t.Errorf("report to %q", got)
		}
	})
	bubble(t, "the postmaster is told about a recipient once a day, a proved sender each time", func(t *testing.T) {
		h := newTestQueue(t)
		bounce := func(tx *mail.Transaction, rcpts ...mail.Address) {
			tx.Envelope.Rcpts = to("a@example.net", "b@example.net", "c@example.net")
			m, _ := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
			var refused []mail.Outcome
			for _, r := range rcpts {
				refused = append(refused, mail.Outcome{Rcpt: r, Hop: "out", Reply: *refusal})
			}
			if _, err := h.Bounce(t.Context(), tx, m, refused); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		proved := func() *mail.Transaction {
			tx := remote()
			tx.Trail.Auth = []mail.AuthResult{{Method: "spf", Value: "pass"}}
			return tx
		}
		bounce(remote(), "b@example.net")
		bounce(remote(), "b@example.net")
		bounce(remote(), "B@EXAMPLE.NET")
		bounce(proved(), "b@example.net")
		bounce(proved(), "b@example.net")
		bounce(remote(), "b@example.net", "c@example.net")
		pass(25 * time.Hour)
		bounce(remote(), "b@example.net")
		want := []string{"ann@example.org", "ann@example.org", "post@example.org", "post@example.org", "post@example.org"}
		if got := slices.Sorted(slices.Values(h.back.to())); !slices.Equal(got, want) {
			t.Errorf("reports to %q, want %q", got, want)
		}
	})
}

func sendDirect(t *testing.T, hop mail.Hop, tx *mail.Transaction, rcpts ...mail.Rcpt) (id string) {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := hop.Open(context.Background(), tx)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, r := range rcpts {
		if err := h.Rcpt(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	return h.Send(context.Background(), m)[0].RemoteID
}

// exportTo moves a message to a pair of files, as for the inject folder.
func exportTo(t *testing.T, h *testQueue, id, base string) {
	t.Helper()
	d, err := h.Show(id)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := d.EnvelopeFile()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := h.Export(id, &text); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Execute(t.Context(), Order{Do: "delete", Filter: Filter{IDs: []string{id}}}, nil); err != nil {
		t.Fatal(err)
	}
	for name, octets := range map[string][]byte{base + ".eml": text.Bytes(), base + ".json": envelope} {
		if err := os.WriteFile(name, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// splitNotices separates reports from notices about upstreams that accept every
// recipient.
func splitNotices(all []delivery) (notices, reports []delivery) {
	for _, d := range all {
		if strings.Contains(d.text, "Subject: An upstream accepts every recipient") {
			notices = append(notices, d)
		} else {
			reports = append(reports, d)
		}
	}
	return notices, reports
}
