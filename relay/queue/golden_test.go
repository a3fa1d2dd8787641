package queue

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal/disk"
)

// sameTime compares strings, which may be times in different zones.
var sameTime = cmp.Comparer(func(a, b string) bool {
	x, errX := time.Parse(time.RFC3339Nano, a)
	y, errY := time.Parse(time.RFC3339Nano, b)
	return a == b || errX == nil && errY == nil && x.Equal(y)
})

// asJSON returns x as decoded from its JSON, so that field names are compared,
// too.
func asJSON(t *testing.T, x any) (out any) {
	t.Helper()
	text, err := json.Marshal(x)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// testdata/first/queue is a queue folder written by the first version. It has
// messages in the log, in body files and in deferred, and one message whose
// records have every field set. want.json is that version's listing of it.
func TestReadsTheFirstVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	if err := os.CopyFS(dir, os.DirFS("testdata/first/queue")); err != nil {
		t.Fatal(err)
	}
	j, err := disk.Open(disk.Options{Dir: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(Options{Journal: j, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	text, err := os.ReadFile("testdata/first/want.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Detail   map[string]any `json:"detail"`
		Message  string         `json:"message"`
		Envelope any            `json:"envelope_file"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if n := len(q.List(Filter{}, 0)); n != len(want) || n == 0 {
		t.Errorf("%d messages, want %d", n, len(want))
	}
	for _, w := range want {
		id := w.Detail["id"].(string)
		d, err := q.Show(id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(any(w.Detail), asJSON(t, d), sameTime); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		var b strings.Builder
		if err := q.Export(id, &b); err != nil || b.String() != w.Message {
			t.Errorf("%s holds %q, %v", id, b.String(), err)
		}
		file, err := d.EnvelopeFile()
		if err != nil {
			t.Fatal(err)
		}
		now := asJSON(t, json.RawMessage(file)).(map[string]any)
		delete(now, "auth") // these were added by later versions
		delete(now, "deliverby")
		delete(now, "priority")
		if diff := cmp.Diff(w.Envelope, any(now), sameTime); diff != "" {
			t.Errorf("envelope of %s: %s", id, diff)
		}
	}
}

// attempt.json is an attempt as written to history by the first version. The
// current version must write the same.
func TestReadsTheFirstAttempt(t *testing.T) {
	text, err := os.ReadFile("testdata/first/attempt.json")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.UTC)
	want := Attempt{
		ID: "0123456789abcdef", From: "ann@example.org", Upstream: "out", Queued: at, Started: at.Add(time.Minute), Final: true,
		Outcomes: []mail.Outcome{{
			Rcpt: "bob@example.net", Reply: mail.Reply{Code: 451, Enhanced: "4.7.1", Text: "greylisted\ncome back later", Host: "mx.example.net"},
			Hop: "out", Host: "mx.example.net", RemoteID: "r1", At: at.Add(2 * time.Minute), Took: time.Second,
		}},
	}
	var got Attempt
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var b strings.Builder
	log := zerolog.New(&b)
	e := log.Log()
	want.MarshalZerologObject(e)
	e.Send()
	if diff := cmp.Diff(asJSON(t, json.RawMessage(text)), asJSON(t, json.RawMessage(b.String())), sameTime); diff != "" {
		t.Error(diff)
	}
}

// testdata/first/inject holds file pairs that the first version wrote to
// deferred or exported. They can be queued through the inject folder.
func TestInjectsThePairsOfTheFirstVersion(t *testing.T) {
	pairs, err := filepath.Glob("testdata/first/inject/*.json")
	if err != nil || len(pairs) < 4 {
		t.Fatalf("%q, %v", pairs, err)
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata/first/inject")); err != nil {
			t.Fatal(err)
		}
		h := newTestQueue(t, func(o *Options) { o.Inject = dir })
		pass(time.Minute)
		var got []string
		for _, d := range h.out.deliveries() {
			subject, _, _ := strings.Cut(d.text, "\r\n")
			got = append(got, subject+" to "+string(d.to))
		}
		want := []string{
			"Subject: full to bob@example.net", "Subject: full to c@example.net",
			"Subject: moved large to bob@example.net", "Subject: moved to carl@example.com",
		}
		if diff := cmp.Diff(want, sortedTexts(got)); diff != "" {
			t.Error(diff)
		}
		if l := h.List(Filter{State: "held"}, 0); len(l) != 1 || l[0].Held != "looks like a virus" {
			t.Errorf("held: %+v", l)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func sortedTexts(all []string) []string {
	slices.Sort(all)
	return all
}
