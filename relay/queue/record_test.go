package queue

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hoplite/mail"
)

func fullTransaction() (*item, *mail.Transaction) {
	at := time.Unix(1795434780, 123)
	env := mail.Envelope{
		From: "ann@example.org", Body: "8BITMIME", UTF8: true, RequireTLS: true, Auth: "ann@example.org",
		Ret: "HDRS", EnvID: "e 1", DeliverBy: &mail.DeliverBy{At: at.Add(time.Hour), Return: true, Trace: true}, Priority: -3,
		Rcpts: []mail.Rcpt{
			{To: "bob@example.net", Orig: "team@example.org", Folder: "lists", Notify: mail.NotifyDelay, ORcpt: "rfc822;team@example.org", Via: []string{"team"}},
			{To: "c@example.net", Orig: "c@example.net"},
		},
	}
	it := newItem("0123456789abcdef", "out", env, at)
	it.noReport = true
	tx := &mail.Transaction{
		ID: it.id, At: at, Envelope: env, Hostname: "mail.example.org", Quarantine: "virus",
		Client: mail.Client{Listener: "in", Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "h", Name: "n", User: "u"},
		Header: mail.HeaderInfo{MessageID: "<m@example.org>", From: "Ann", Subject: "s"},
		Trail: &mail.Trail{
			Events: []mail.Event{{
				At: at, Stage: mail.StageData, By: "size", Rcpt: "bob@example.net", Verdict: "tag", Reply: mail.NewReply(250, "2.0.0", "ok"),
				Reason: "r", Facts: []mail.Fact{{Key: "k", Value: "v"}}, Took: time.Second, Shadow: true,
			}},
			Auth: []mail.AuthResult{{Method: "spf", Value: "pass", Reason: "r", Comment: "c", Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "x"}}}},
		},
	}
	return it, tx
}

func TestRecordsComeBack(t *testing.T) {
	it, tx := fullTransaction()
	it.rcpts[0] = rcpt{status: failed, attempts: 7, next: it.at.Add(time.Hour), tried: it.at, last: refuse(550, "5.1.1", "no")}
	it.held, it.heldAt, it.override, it.warned = "why", it.at, "other", true

	back := &item{id: it.id, rcpts: make([]rcpt, 2)}
	var txBack mail.Transaction
	if err := unpackMeta(packMeta(it, tx), back, &txBack); err != nil {
		t.Fatal(err)
	}
	if err := unpackState(packState(it), back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tx, &txBack, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(it, back, cmp.AllowUnexported(item{}, rcpt{})); diff != "" {
		t.Error(diff)
	}
}

// A form that a newer program wrote stops the start; it is not guessed at.
func TestUnknownFormsAreRefused(t *testing.T) {
	it, tx := fullTransaction()
	meta, state := packMeta(it, tx), packState(it)
	meta[0], state[0] = metaForm+1, stateForm+1
	if unpackMeta(meta, &item{}, nil) == nil || unpackState(state, it) == nil || unpackMeta(nil, &item{}, nil) == nil {
		t.Error("taken")
	}
}

func FuzzUnpack(f *testing.F) {
	it, tx := fullTransaction()
	f.Add(packMeta(it, tx), packState(it))
	f.Fuzz(func(t *testing.T, meta, state []byte) {
		var tx mail.Transaction
		it := &item{id: "x", rcpts: make([]rcpt, 3)}
		unpackState(state, it)
		unpackMeta(meta, it, &tx)
		Envelope("x", meta, state)
	})
}

func TestInject(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func(t *testing.T, dir string) (names []string) {
		t.Helper()
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			names = append(names, e.Name())
		}
		return names
	}
	for _, tc := range []struct {
		name, json, eml string
		to              []string
		left            []string
	}{
		{name: "a pair from deferred", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","from":"ann@example.org","rcpts":[{"to":"a@example.net"},{"to":"b@example.net","state":"delivered"},{"to":"c@example.net","state":"waiting"}]}`, to: []string{"a@example.net", "c@example.net"}},
		{name: "written with an editor", eml: "Subject: x\n\nbody\n", json: `{"upstream":"out","from":"","rcpts":[{"to":"a@example.net"}]}`, to: []string{"a@example.net"}},
		{name: "a quarantine does not end by a move", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","held":"virus","quarantine":"virus","rcpts":[{"to":"a@example.net"}]}`},
		{name: "a person's hold does", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","held":"moving","rcpts":[{"to":"a@example.net"}]}`, to: []string{"a@example.net"}},
		{name: "no json", eml: "x", json: `{`, left: []string{"m.bad", "m.json.bad"}},
		{name: "no recipient", eml: "x", json: `{"rcpts":[{"to":"a@example.net","state":"failed"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "no address", eml: "x", json: `{"rcpts":[{"to":"a@example.net\r\nb"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "no sender's address", eml: "x", json: `{"from":"@","rcpts":[{"to":"a@example.net"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "half a pair waits", json: `{"rcpts":[{"to":"a@example.net"}]}`, left: []string{"m.json"}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			dir := t.TempDir()
			h := newHouse(t, func(o *Options) { o.Inject = dir })
			if tc.eml != "" {
				write(t, dir, "m.eml", tc.eml)
			}
			write(t, dir, "m.json", tc.json)
			pass(time.Minute)
			if got := h.out.to(); !slices.Equal(got, tc.to) {
				t.Errorf("delivered to %q", got)
			}
			if left := files(t, dir); !slices.Equal(left, tc.left) {
				t.Errorf("left: %q", left)
			}
			if l := h.List(Filter{State: "held"}, 0); len(l) == 1 != strings.Contains(tc.json, "quarantine") {
				t.Errorf("held: %+v", l)
			}
			for _, d := range h.out.deliveries() {
				if !strings.HasSuffix(d.text, "\r\n\r\nbody\r\n") {
					t.Errorf("text %q", d.text)
				}
			}
		})
	}
	t.Run("a link is not followed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			h := newHouse(t, func(o *Options) { o.Inject = dir })
			write(t, dir, "m.json", `{"upstream":"out","rcpts":[{"to":"a@example.net"}]}`)
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "m.eml")); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			if len(h.out.to()) > 0 {
				t.Error("delivered")
			}
		})
	})
}

func TestEnvelopeFile(t *testing.T) {
	it, tx := fullTransaction()
	it.rcpts[1] = rcpt{attempts: 2, last: refuse(451, "4.2.0", "later")}
	var f envelopeFile
	if err := json.Unmarshal(Envelope(it.id, packMeta(it, tx), packState(it)), &f); err != nil {
		t.Fatal(err)
	}
	if f.From != "ann@example.org" || len(f.Rcpts) != 2 || f.Rcpts[1].Last != "451 4.2.0 later" || f.Rcpts[0].Orig != "team@example.org" {
		t.Errorf("got %+v", f)
	}
	env, err := f.read()
	if err != nil || len(env.Rcpts) != 2 || !slices.Equal(env.Rcpts[0].Via, []string{"team"}) || env.Rcpts[0].Folder != "lists" || !f.Forged || f.Quarantine != "" {
		t.Errorf("read back %+v, %v, of %+v", env, err, f)
	}
	if text := Envelope("x", []byte("?"), nil); !json.Valid(text) {
		t.Errorf("got %q", text)
	}
}
