package history

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func record(i int, at time.Time) Record {
	return Record{
		ID: fmt.Sprintf("id%d", i), At: at, Kind: "transaction",
		MessageID: fmt.Sprintf("<m%d@example.org>", i), From: "bob@example.com",
		To: []string{fmt.Sprintf("ann%d@example.org", i%2), "list@example.org"},
	}
}

// number is the data of a record.
type number int

func (n number) MarshalZerologObject(e *zerolog.Event) { e.Int("n", int(n)) }

func find(t *testing.T, r *Reader, q Query) string {
	t.Helper()
	found, err := r.Find(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return strings.Join(ids, " ")
}

func TestFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 4 {
		s.Add(record(i, now.Add(time.Duration(i)*time.Second)), number(i))
	}
	s.Close()
	r := NewReader(dir)
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"id", Query{ID: "ID2"}, "id2"},
		{"message id", Query{MessageID: "m1@example.org"}, "id1"},
		{"recipient", Query{To: "Ann1@example.org"}, "id1 id3"},
		{"sender and recipient", Query{From: "bob@example.com", To: "ann0@example.org"}, "id0 id2"},
		{"everything", Query{}, "id0 id1 id2 id3"},
		{"newest", Query{From: "bob@example.com", Limit: 2}, "id2 id3"},
		{"since", Query{Since: now.Add(1500 * time.Millisecond)}, "id2 id3"},
		{"until", Query{Until: now.Add(500 * time.Millisecond)}, "id0"},
		{"nobody", Query{To: "eve@example.org"}, ""},
	} {
		if got := find(t, r, c.q); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Every record is read back as it was added.
// A forward with a kept copy names the account's address twice.
func TestFindOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		r := record(i, time.Now())
		r.To = []string{"carl@elsewhere.example", "carl@example.org", "carl@example.org"}
		s.Add(r, number(i))
	}
	s.Close()
	if got := find(t, NewReader(dir), Query{To: "carl@example.org"}); strings.Count(got, "id0") != 1 || strings.Count(got, "id1") != 1 {
		t.Errorf("found %s", got)
	}
}

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.FixedZone("", 3600))
	want := []Record{
		{ID: "a1", At: at, Kind: "refusal", MessageID: "<\"quoted\\ \x01\xff\"@example.org>", From: "Jörg@Example.ORG", To: []string{"a\nb@example.org"}},
		{ID: "a2", At: at, Kind: "attempt"},
	}
	s.Add(want[0], number(7))
	s.Add(want[1], nil)
	s.Close()
	got, err := s.Find(context.Background(), Query{From: "jörg@example.org"})
	if err != nil || len(got) != 1 {
		t.Fatalf("found %v, %v", got, err)
	}
	want[0].MessageID = strings.ToValidUTF8(want[0].MessageID, "\ufffd")
	want[0].Data = json.RawMessage(`{"n":7}`)
	if !got[0].At.Equal(at) {
		t.Errorf("at %v", got[0].At)
	}
	if got[0].At = at; !reflect.DeepEqual(got[0], want[0]) {
		t.Errorf("got %+v, want %+v", got[0], want[0])
	}
	if got := find(t, &s.Reader, Query{ID: "a2"}); got != "a2" {
		t.Errorf("found %q", got)
	}
}

// The index points to lines that were added concurrently, and dropped lines are
// counted.
func TestManyAtOnce(t *testing.T) {
	s, err := Open(t.TempDir(), 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	var all sync.WaitGroup
	for who := range 4 {
		all.Go(func() {
			for i := range n {
				s.Add(Record{ID: fmt.Sprintf("w%dn%d", who, i), At: time.Now(), To: []string{"x@example.org"}}, nil)
			}
		})
	}
	all.Wait()
	s.Close()
	for who := range 4 {
		for _, i := range []int{0, n / 2, n - 1} {
			id := fmt.Sprintf("w%dn%d", who, i)
			if got := find(t, &s.Reader, Query{ID: id}); got != id {
				t.Errorf("found %q, want %q", got, id)
			}
		}
	}
	found, err := s.Find(context.Background(), Query{To: "x@example.org", Limit: 10 * n})
	if err != nil || len(found)+int(s.Lost()) != 4*n {
		t.Errorf("%d found, %d lost, of %d: %v", len(found), s.Lost(), 4*n, err)
	}
}

// A crash in the middle of a line or before the index is written loses at most
// that line.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.Add(record(1, time.Now()), nil)
	s.Close()
	name := filepath.Join(dir, time.Now().UTC().Format(dayForm))
	f, err := os.OpenFile(name+".jsonl", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"id":"torn"`)
	f.Close()
	os.Truncate(name+".idx", 7)
	if s, err = Open(dir, 0, 0, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	s.Add(record(2, time.Now()), nil)
	s.Close()
	if got := find(t, NewReader(dir), Query{To: "list@example.org"}); got != "id1 id2" {
		t.Errorf("found %q", got)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for days, size := range map[int]int{1: 10, 2: 5000, 3: 10, 40: 10} {
		path := filepath.Join(dir, now.AddDate(0, 0, -days).UTC().Format(dayForm)+".jsonl")
		if err := os.WriteFile(path, make([]byte, size), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, 0, 1000, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	days, _ := s.days()
	if want := now.AddDate(0, 0, -1).UTC().Format(dayForm); len(days) != 2 || days[0] != want {
		t.Errorf("left %v, want %s and today", days, want)
	}
}

// A clock that is temporarily years ahead does not cause the history to be
// removed.
func TestPruneWithAWrongClock(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for _, days := range []int{1, 2, 20, 40} {
		path := filepath.Join(dir, now.AddDate(0, 0, -days).UTC().Format(dayForm)+".jsonl")
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	left := func(when string, want int) {
		t.Helper()
		if days, _ := s.days(); len(days) != want {
			t.Errorf("%s: left %v, want %d", when, days, want)
		}
	}
	left("at first", 4) // includes today, but not the day 40 days ago
	ahead := now.AddDate(9, 0, 0)
	if err := os.WriteFile(filepath.Join(dir, ahead.UTC().Format(dayForm)+".jsonl"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	s.prune(ahead)
	left("nine years ahead", 5)
	s.prune(now)
	left("back again", 5)
}

func TestNoHistoryYet(t *testing.T) {
	if got := find(t, NewReader(filepath.Join(t.TempDir(), "none")), Query{ID: "x"}); got != "" {
		t.Errorf("found %q", got)
	}
}

// A history file that cannot be read does not prevent the start: an index is
// regenerated from the lines, and if the lines cannot be read, mail is
// processed without history.
func TestUnreadableFiles(t *testing.T) {
	today := time.Now().UTC().Format(dayForm)
	for _, c := range []struct {
		file, log string
		rebuilt   bool
	}{
		{today + ".idx", "damaged index of the history rebuilt", true},
		{today + ".jsonl", "history is not written", false},
	} {
		t.Run(c.file, func(t *testing.T) {
			dir := t.TempDir()
			first, err := Open(dir, 0, 0, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			first.Add(record(1, time.Now()), nil)
			first.Close()
			if err := os.Remove(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, c.file), 0o700); err != nil { // opening a folder as a file fails even for root
				t.Fatal(err)
			}
			var log bytes.Buffer
			s, err := Open(dir, 0, 0, zerolog.New(&log))
			if err != nil {
				t.Fatal(err)
			}
			s.Add(record(2, time.Now()), nil)
			s.Close()
			if n := strings.Count(log.String(), c.log); n != 1 {
				t.Errorf("%d lines %q in the log: %s", n, c.log, &log)
			}
			if !c.rebuilt {
				if s.Lost() != 1 {
					t.Errorf("%d records lost, want 1", s.Lost())
				}
				return
			}
			for _, id := range []string{"id1", "id2"} {
				if got := find(t, NewReader(dir), Query{ID: id}); got != id {
					t.Errorf("%s: found %q", id, got)
				}
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	s, err := Open(b.TempDir(), 0, 0, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := record(1, time.Now())
	for b.Loop() {
		s.Add(r, number(1))
	}
}

// An index that is truncated at any octet is completed.
func TestResumeAtEveryOctet(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		s.Add(record(i+1, time.Now()), nil)
	}
	s.Close()
	name := filepath.Join(dir, time.Now().UTC().Format(dayForm)+".idx")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := range len(whole) + 20 {
		cut := append(bytes.Clone(whole), bytes.Repeat([]byte{0xff}, 20)...)[:size]
		if err := os.WriteFile(name, cut, 0o640); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, 0, 0, zerolog.Nop()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got, _ := os.ReadFile(name); !bytes.Equal(got, whole) {
			t.Fatalf("index of %d octets became one of %d, want %d", size, len(got), len(whole))
		}
	}
}

// TestJoin searches by one key and expects all records with the ids found.
func TestJoin(t *testing.T) {
	r := NewReader("testdata/v1")
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{MessageID: "submitted@client.example", Join: true}, "01m8p4w60c6vzf0r 01m8p4w60c6vzf0r"},
		{Query{To: "bob@far.example", Join: true}, "01m8p4w60c6vzf0r 01m8p4w60c6vzf0r"},
		{Query{ID: "01m8p4w60c6vzf0r", Join: true}, "01m8p4w60c6vzf0r 01m8p4w60c6vzf0r"},
		{Query{MessageID: "unknown@client.example", Join: true}, ""},
	} {
		if got := find(t, r, c.q); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}
